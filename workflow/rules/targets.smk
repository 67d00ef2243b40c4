# A name for every table and figure of the configured study: `snakemake table_1`, `snakemake figure_3`.


def name_target(name, title):
    """Add a rule that only names what to read, with a one-line description for --list-target-rules."""

    rule:
        name:
            name
        input:
            to_read(STUDY, [name]),
        localrule: True

    describe(name, title)


for number in STUDY.settings.tables:
    name_target(f"table_{number}", layouts.tables(STUDY.paper)[number].title)

for number in STUDY.settings.figures:
    name_target(f"figure_{number}", layouts.figures(STUDY.paper)[number].title)
