from snakemake.utils import min_version

min_version("9.19")


include: "workflow/rules/start.smk"


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


container: f"{workflow.current_basedir}/envs/contrastive-inversion.sif"  # for --sdm apptainer; docs/cluster.md builds it


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/stops.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/render.smk"
include: "workflow/rules/verdicts.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/targets.smk"


rule all:
    """Every table, every figure, cells.csv and the report page of the configured study."""
    default_target: True
    input:
        to_read(STUDY, rendered.names(STUDY)),
    localrule: True
