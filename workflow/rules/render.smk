# From measurements to what people read: no torch, no GPU, seconds.


rule table:
    """Write a table as csv, Markdown and LaTeX."""
    input:
        table_inputs,
        ledger=f"{LEDGER}/tables.csv",
    output:
        csv="results/{study}/tables/table_{number}.csv",
        md="results/{study}/tables/table_{number}.md",
        tex="results/{study}/tables/table_{number}.tex",
    log:
        "results/{study}/logs/tables/table_{number}.log",
    benchmark:
        "results/{study}/benchmarks/tables/table_{number}.tsv"
    conda:
        "../../envs/render.yaml"
    shell:
        "contrastive-inversion table {wildcards.number} --study {wildcards.study} > {log} 2>&1"


rule figure:
    """Draw a figure as pdf and png."""
    input:
        figure_inputs,
        ledger=f"{LEDGER}/figures.yaml",
    output:
        pdf="figures/{study}/figure_{number}.pdf",
        png="figures/{study}/figure_{number}.png",
    log:
        "results/{study}/logs/figures/figure_{number}.log",
    benchmark:
        "results/{study}/benchmarks/figures/figure_{number}.tsv"
    conda:
        "../../envs/render.yaml"
    shell:
        "contrastive-inversion figure {wildcards.number} --study {wildcards.study} > {log} 2>&1"


rule cells:
    """Write every printed number beside ours."""
    input:
        lambda wildcards: study_measurements(wildcards.study),
        ledger=f"{LEDGER}/tables.csv",
    output:
        "results/{study}/cells.csv",
    log:
        "results/{study}/logs/cells.log",
    benchmark:
        "results/{study}/benchmarks/cells.tsv"
    conda:
        "../../envs/render.yaml"
    shell:
        "contrastive-inversion cells --study {wildcards.study} > {log} 2>&1"


rule claims:
    """Decide every claim of the paper."""
    input:
        lambda wildcards: study_measurements(wildcards.study),
        ledger=f"{LEDGER}/claims.yaml",
    output:
        "results/{study}/claims.csv",
    log:
        "results/{study}/logs/claims.log",
    benchmark:
        "results/{study}/benchmarks/claims.tsv"
    conda:
        "../../envs/render.yaml"
    shell:
        "contrastive-inversion claims --study {wildcards.study} > {log} 2>&1"


rule report:
    """Write the report page."""
    input:
        lambda wildcards: study_measurements(wildcards.study),
        lambda wildcards: study_tables(wildcards.study),
        lambda wildcards: study_figures(wildcards.study),
        cells="results/{study}/cells.csv",
        claims="results/{study}/claims.csv",
    output:
        "results/{study}/report.html",
    log:
        "results/{study}/logs/report.log",
    benchmark:
        "results/{study}/benchmarks/report.tsv"
    conda:
        "../../envs/render.yaml"
    shell:
        "contrastive-inversion report --study {wildcards.study} > {log} 2>&1"
