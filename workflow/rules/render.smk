# From measurements to what people read: no torch, no GPU, seconds.
BESIDE = ["--compare", CONFIG.compare] if CONFIG.compare else []
TO_STUDY = f"--study {{wildcards.study}} --results {quote(RESULTS)}"


rule table:
    """Write a table as csv, Markdown and LaTeX."""
    input:
        rendered_inputs("table_{number}"),
    output:
        csv=report(
            f"{RESULTS}/{{study}}/tables/table_{{number}}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"study": "{study}", "table": "{number}"},
        ),
        md=f"{RESULTS}/{{study}}/tables/table_{{number}}.md",
        tex=f"{RESULTS}/{{study}}/tables/table_{{number}}.tex",
    log:
        f"{RESULTS}/{{study}}/logs/tables/table_{{number}}.log",
    benchmark:
        f"{RESULTS}/{{study}}/benchmarks/tables/table_{{number}}.tsv"
    localrule: True
    conda:
        "../../envs/render.yaml"
    shell:
        f"{RUN} table {{wildcards.number}} {TO_STUDY} > {{log:q}} 2>&1"


rule figure:
    """Draw a figure as pdf, svg and png."""
    input:
        rendered_inputs("figure_{number}"),
    output:
        pdf=f"{FIGURES}/{{study}}/figure_{{number}}.pdf",
        svg=f"{FIGURES}/{{study}}/figure_{{number}}.svg",
        png=report(
            f"{FIGURES}/{{study}}/figure_{{number}}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"study": "{study}", "figure": "{number}"},
        ),
    log:
        f"{RESULTS}/{{study}}/logs/figures/figure_{{number}}.log",
    benchmark:
        f"{RESULTS}/{{study}}/benchmarks/figures/figure_{{number}}.tsv"
    localrule: True
    conda:
        "../../envs/render.yaml"
    shell:
        f"{RUN} figure {{wildcards.number}} {TO_STUDY} --figures {quote(FIGURES)} > {{log:q}} 2>&1"


rule report:
    """Write the report page."""
    input:
        rendered_inputs("report", behind_page),
    output:
        f"{RESULTS}/{{study}}/report.html",
    log:
        f"{RESULTS}/{{study}}/logs/report.log",
    benchmark:
        f"{RESULTS}/{{study}}/benchmarks/report.tsv"
    localrule: True
    conda:
        "../../envs/render.yaml"
    params:
        compare=BESIDE,
    shell:
        f"{RUN} report {TO_STUDY} --figures {quote(FIGURES)} {{params.compare:q}} > {{log:q}} 2>&1"


rule verify:
    """Check all measurement files of the configured study and rebuild everything from them alone."""
    log:
        f"{RESULTS}/{STUDY.name}/logs/verify.log",
    localrule: True
    conda:
        "../../envs/render.yaml"
    params:
        study=STUDY.name,
        results=RESULTS,
        figures=FIGURES,
        compare=BESIDE,
    shell:
        f"{RUN} verify --study {{params.study}} --results {{params.results:q}} --figures {{params.figures:q}}"
        " {params.compare:q} 2>&1 | tee {log:q}"
