# Tables of verdicts: one rule each, alike but for the name.


def make_verdict_rule(name, text, captioned=True):
    """Add the rule that writes a table of verdicts; where it has a caption, Snakemake's own report shows it."""
    path = f"{RESULTS}/{{study}}/{name}.csv"
    labels = {"study": "{study}", "file": name}
    shown = report(path, caption=f"../report/{name}.rst", category="Verdicts", labels=labels) if captioned else path

    rule:
        name:
            name
        input:
            rendered_inputs(name),
        output:
            shown,
        log:
            f"{RESULTS}/{{study}}/logs/{name}.log",
        benchmark:
            f"{RESULTS}/{{study}}/benchmarks/{name}.tsv"
        localrule: True
        conda:
            "../../envs/render.yaml"
        shell:
            f"{RUN} {name} {TO_STUDY} > {{log:q}} 2>&1"

    describe(name, text)


make_verdict_rule("cells", "Write every printed number beside ours.")
make_verdict_rule("claims", "Decide every claim of the paper.")
make_verdict_rule("spreads", "Measure how far the trainings of a study with several seeds spread.", captioned=False)
