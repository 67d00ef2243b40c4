# A name for every table and figure of the configured study: `snakemake table_1`, `snakemake figure_3`.


def name_target(name, title, path):
    """Add a rule that only names a file, with a one-line description for --list-target-rules."""

    rule:
        name:
            name
        input:
            path,
        localrule: True

    describe(name, title)


for number, path in zip(STUDY.settings.tables, study_tables(STUDY)):
    name_target(f"table_{number}", layouts.tables(STUDY.paper)[number].title, path)

for number, path in zip(STUDY.settings.figures, study_figures(STUDY, ["pdf"])):
    name_target(f"figure_{number}", layouts.figures(STUDY.paper)[number].title, path)
