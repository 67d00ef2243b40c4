# A name for every table and figure of the configured study: `snakemake table_1`, `snakemake figure_3`.


def name_target(name, title, paths):
    """Add a rule that only names files, with a one-line description for --list-target-rules."""

    rule:
        name:
            name
        input:
            paths,
        localrule: True

    workflow.get_rule(name).docstring = title


for number in studies.load(STUDY)["tables"]:
    name_target(
        f"table_{number}",
        quantities.table_layouts(quantities.ledger_of(studies.load(STUDY)))[number]["title"],
        f"results/{STUDY}/tables/table_{number}.csv",
    )

for number in studies.load(STUDY)["figures"]:
    name_target(
        f"figure_{number}",
        quantities.figure_layouts(quantities.ledger_of(studies.load(STUDY)))[number]["title"],
        f"figures/{STUDY}/figure_{number}.pdf",
    )
