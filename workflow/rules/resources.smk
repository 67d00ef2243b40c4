# What the rules say of a job to Snakemake and to schedulers: memory, cores, GPUs, as the plan has it.
def share_memory():
    """Jobs on this machine share its RAM, where nobody says how much they may take. Those of a cluster do not."""
    if workflow.local_exec and not workflow.dryrun and "mem_mb" not in workflow.global_resources:
        workflow.register_resource("mem_mb", int(1000 * machine.ram_gb()))


def of_study(function, product):
    """A params or resources function: what is said of a product by its name and its study."""
    return signed(lambda wildcards: or_stop(function, product.format(**wildcards), study_of(wildcards)))


def of_job(function, product):
    """The same of what a plan says of the job that makes the product on the study's machine (see `run.costs`)."""

    def on_machine(name, study):
        return function(name, study, costs.machine_of(study, Path(RESULTS)))

    return of_study(on_machine, product)


def by_default(name):
    """What the profile's default resources say of a name, or None."""
    said = (workflow.resource_settings.default_resources or {}).get(name)
    return said and said.raw


def gpu_model_of(product):
    """A resources function: the model that the profile's default resources name, for a job that holds a GPU.

    Slurm's executor plugin takes every job with a model for one of a GPU, so that no default may reach the others.
    """
    model, on_gpu = by_default("gpu_model"), of_study(costs.gpus, product)
    return signed(lambda wildcards: model if model and on_gpu(wildcards) else None)


def partition_of(product):
    """The resource of a rule whose jobs without a GPU have a partition of their own, where the profile names one."""
    own, others = by_default("slurm_partition"), by_default("cpu_partition")
    on_gpu = of_study(costs.gpus, product)
    return {"slurm_partition": signed(lambda wildcards: own if on_gpu(wildcards) else others)} if others else {}


def cores_of(product):
    """A threads function: a job on this machine claims one core, since picture threads mostly wait for their GPU.

    Elsewhere a scheduler binds a job to what it asks for, picture threads included.
    """
    bound = of_study(costs.cores, product)
    return signed(lambda wildcards: 1 if workflow.local_exec else bound(wildcards))


def memory_of(product):
    """A resources function: a job's memory; in a scheduler's job lie two Snakemakes besides, which start it."""
    alone = of_job(costs.memory_mb, product)
    return signed(lambda wildcards: alone(wildcards) + (0 if workflow.local_exec else costs.SNAKEMAKES_MB))
