# What may be fetched from a network, and only when asked for: no other rule opens a connection.


rule weights:
    """Fetch the published weights that the configured study starts from, to the places config.yaml names."""
    log:
        f"{RESULTS}/{STUDY.name}/logs/weights.log",
    localrule: True
    conda:
        "../../envs/compute.yaml"
    params:
        study=STUDY.name,
    shell:
        f"{RUN} fetch weights --study {{params.study}} 2>&1 | tee {{log:q}}"


rule download:
    """Fetch the data of the configured study to the places config.yaml names; say where the rest comes from."""
    log:
        f"{RESULTS}/{STUDY.name}/logs/download.log",
    localrule: True
    conda:
        "../../envs/compute.yaml"
    params:
        study=STUDY.name,
    shell:
        f"{RUN} fetch data --study {{params.study}} 2>&1 | tee {{log:q}}"
