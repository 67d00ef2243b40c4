# From images to measurements: every heavy job is the same frozen call, its recipe the only parameter.


rule images:
    """Make or read the images of a data set."""
    input:
        product_inputs("images/{data}"),
    output:
        "results/{study}/images/{data}.safetensors",
    log:
        "results/{study}/logs/images/{data}.log",
    benchmark:
        "results/{study}/benchmarks/images/{data}.tsv"
    conda:
        "../../envs/compute.yaml"
    params:
        recipe=product_recipe("images/{data}"),
    shell:
        "contrastive-inversion make images/{wildcards.data} --root results/{wildcards.study} --recipe {params.recipe:q} > {log} 2>&1"


rule encoder:
    """Train an encoder: the teacher, a student or a baseline."""
    input:
        product_inputs("encoders/{encoder}"),
    output:
        "results/{study}/encoders/{encoder}.safetensors",
    log:
        "results/{study}/logs/encoders/{encoder}.log",
    benchmark:
        "results/{study}/benchmarks/encoders/{encoder}.tsv"
    conda:
        "../../envs/compute.yaml"
    threads: picture_threads
    resources:
        gpu=gpus,
    params:
        recipe=product_recipe("encoders/{encoder}"),
    shell:
        "contrastive-inversion make encoders/{wildcards.encoder} --root results/{wildcards.study} --gpus {resources.gpu} --threads {threads} --recipe {params.recipe:q} > {log} 2>&1"


rule heads:
    """Fit all linear probes of an encoder on a data set."""
    input:
        product_inputs("heads/{encoder}/{data}"),
    output:
        "results/{study}/heads/{encoder}/{data}.safetensors",
    log:
        "results/{study}/logs/heads/{encoder}/{data}.log",
    benchmark:
        "results/{study}/benchmarks/heads/{encoder}/{data}.tsv"
    conda:
        "../../envs/compute.yaml"
    threads: picture_threads
    resources:
        gpu=gpus,
    params:
        recipe=product_recipe("heads/{encoder}/{data}"),
    shell:
        "contrastive-inversion make heads/{wildcards.encoder}/{wildcards.data} --root results/{wildcards.study} --gpus {resources.gpu} --threads {threads} --recipe {params.recipe:q} > {log} 2>&1"


rule restored:
    """Distort test images and restore them in pixel space."""
    input:
        product_inputs("restored/{data}/{distortion}"),
    output:
        "results/{study}/restored/{data}/{distortion}.safetensors",
    log:
        "results/{study}/logs/restored/{data}/{distortion}.log",
    benchmark:
        "results/{study}/benchmarks/restored/{data}/{distortion}.tsv"
    conda:
        "../../envs/compute.yaml"
    params:
        recipe=product_recipe("restored/{data}/{distortion}"),
    shell:
        "contrastive-inversion make restored/{wildcards.data}/{wildcards.distortion} --root results/{wildcards.study} --recipe {params.recipe:q} > {log} 2>&1"


rule measurement:
    """Measure every level, head and metric of an encoder on a data set."""
    input:
        product_inputs("measurements/{encoder}/{data}"),
    output:
        "results/{study}/measurements/{encoder}/{data}.json",
    log:
        "results/{study}/logs/measurements/{encoder}/{data}.log",
    benchmark:
        "results/{study}/benchmarks/measurements/{encoder}/{data}.tsv"
    conda:
        "../../envs/compute.yaml"
    threads: picture_threads
    resources:
        gpu=gpus,
    params:
        recipe=product_recipe("measurements/{encoder}/{data}"),
    shell:
        "contrastive-inversion make measurements/{wildcards.encoder}/{wildcards.data} --root results/{wildcards.study} --gpus {resources.gpu} --threads {threads} --recipe {params.recipe:q} > {log} 2>&1"


rule gallery:
    """Distort the sample images of a figure and classify them."""
    input:
        product_inputs("galleries/figure_{number}"),
    output:
        "results/{study}/galleries/figure_{number}.safetensors",
    log:
        "results/{study}/logs/galleries/figure_{number}.log",
    benchmark:
        "results/{study}/benchmarks/galleries/figure_{number}.tsv"
    conda:
        "../../envs/compute.yaml"
    params:
        recipe=product_recipe("galleries/figure_{number}"),
    shell:
        "contrastive-inversion make galleries/figure_{wildcards.number} --root results/{wildcards.study} --recipe {params.recipe:q} > {log} 2>&1"
