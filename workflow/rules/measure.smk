# From images to measurements: every heavy job is the same frozen call, its recipe the only parameter.


def make_rule(name, product):
    """Add the rule that makes some products, with a sentence on what it does."""
    name_of = form_of(name, product)
    gpus_of = of_study(costs.gpus, name_of)

    rule:
        name:
            name
        input:
            product_inputs(name_of),
        output:
            f"{RESULTS}/{{study}}/{file_of(name_of)}",
        log:
            f"{RESULTS}/{{study}}/logs/{name_of}.log",
        benchmark:
            f"{RESULTS}/{{study}}/benchmarks/{name_of}.tsv"
        priority: of_job(costs.priority, name_of)
        conda:
            "../../envs/compute.yaml"
        threads: cores_of(name_of)
        resources:
            **partition_of(name_of),
            gpu=signed(lambda wildcards: gpus_of(wildcards) or None),  # Kubernetes refuses a count of 0
            gpu_model=gpu_model_of(name_of),
            devices=gpus_of,
            mem_mb=memory_of(name_of),
            runtime=of_job(costs.runtime_minutes, name_of),
            disk_mb=of_job(costs.disk_mb, name_of),
            picture_threads=of_study(costs.picture_threads, name_of),
        params:
            product=signed(lambda wildcards: name_of.format(**wildcards)),
            recipe=of_study(plan.recipe, name_of),
            paper=signed(lambda wildcards: study_of(wildcards).paper.name),
        shell:
            f"{RUN} make {{params.product}}"
            f" --root {quote(RESULTS)}/{{wildcards.study}} --paper {{params.paper}}"
            " --gpus {resources.devices} --threads {resources.picture_threads} --recipe {params.recipe:q} > {log:q} 2>&1"

    describe(name, product.made)


for name, product in PRODUCTS.items():
    make_rule(name, product)
