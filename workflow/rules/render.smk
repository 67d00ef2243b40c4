# From measurements to what people read: no torch, no GPU, seconds.


rule table:
    """Write a table as csv, Markdown and LaTeX."""
    input:
        table_inputs,
        ledger=f"{LEDGER}/tables.csv",
    output:
        csv=report(
            "results/{study}/tables/table_{number}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"study": "{study}", "table": "{number}"},
        ),
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
        png=report(
            "figures/{study}/figure_{number}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "{number}"},
        ),
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
        report(
            "results/{study}/cells.csv",
            caption="../report/cells.rst",
            category="Verdicts",
            labels={"study": "{study}", "file": "cells"},
        ),
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
        report(
            "results/{study}/claims.csv",
            caption="../report/claims.rst",
            category="Verdicts",
            labels={"study": "{study}", "file": "claims"},
        ),
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
    params:
        compare=f"--compare {config['compare']}" if "compare" in config else "",
    shell:
        "contrastive-inversion report --study {wildcards.study} {params.compare} > {log} 2>&1"


localrules:
    table,
    figure,
    cells,
    claims,
    report,
    verify,


rule verify:
    """Check all measurement files of the configured study and rebuild everything from them alone."""
    log:
        f"results/{STUDY}/logs/verify.log",
    conda:
        "../../envs/render.yaml"
    params:
        study=STUDY,
        results=config.get("results", "results"),
        figures=config.get("figures", "figures"),
    shell:
        "contrastive-inversion verify --study {params.study} --results {params.results} --figures {params.figures} 2>&1 | tee {log}"
