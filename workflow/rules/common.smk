# The study, and input functions: what files are made from, and whether they are out of date.
environment.prepare()
# in the words of the rules, since Snakemake takes PYTHONPATH out of the environment of a job that has one of conda's
HANDED = (
    quote(str(environment.package_folder())).replace("{", "{{").replace("}", "}}") + "${{PYTHONPATH:+:$PYTHONPATH}}"
)
RUN = f"PYTHONPATH={HANDED} python3 -m contrastive_inversion"


def place_of(key):
    """Where the configuration says a key: on the command line, or in the last of the files that do."""
    files = [path for path in (*workflow.configfiles, *workflow.overwrite_configfiles) if key in read_yaml(Path(path))]
    said = "--config" if key in workflow.config_settings.config else (files or ["config.yaml"])[-1]
    return f"{said}: {key}"


# a file has been read by itself
CONFIG = or_stop(checked, machine.Config, config, "--config" if workflow.config_settings.config else "config.yaml")
or_stop(papers.use, CONFIG, place_of)
or_stop(study_file, CONFIG.study, papers.folders(), place_of("study"))
STUDY = or_stop(ready.study, CONFIG.study)
RESULTS, FIGURES = map(os.path.normpath, (CONFIG.results, CONFIG.figures))
PRODUCTS = or_stop(papers.products)
TOLD = set()  # the products of which it was said why they are made again
FOUND = {}  # when the files that were looked at had been written
if CONFIG.compare:
    or_stop(ready.check_compared, Path(CONFIG.compare), STUDY, place_of("compare"))


wildcard_constraints:
    **{name: r"[\w.-]+" for product in PRODUCTS.values() for name in product.names},
    study="|".join(map(re.escape, papers.study_names())),
    number=r"\d+",


def signed(function):
    """A function with its signature noted: Snakemake asks for it dozens of times a job, a sixth of the time it plans."""
    function.__signature__ = signature(function)
    return function


def study_of(wildcards):
    """The study that a target belongs to; it need not be that of config.yaml."""
    return or_stop(ready.study, wildcards.study)


def files(study, products):
    return [f"{RESULTS}/{study.name}/{file_of(product)}" for product in products]


def finished_of(study):
    """What lies in a study's results; what is forced by name takes along what is made from it."""
    forced = frozenset(map(os.path.normpath, workflow.dag_settings.forcerun if workflow.is_main_process else []))
    here = not workflow.deployment_settings.deployment_method
    return or_stop(fresh.of_study, study, Path(RESULTS), CONFIG.changed == "rerun", forced, here)


def inputs_of(outputs, inputs, out_of_date):
    """What some files are made from; if they are out of date, Snakemake makes them again, for no other reason.

    Inputs that no longer exist are not needed for files that stay. Modification times, rule text and Snakemake's notes of
    the last run, which get lost, are ignored. So is its note that a job was begun: files are written whole or not at all,
    and a job may have gone on after its Snakemake was killed.
    """
    share_memory()
    FOUND.update((path, or_stop(written_at, path)) for path in outputs)
    workflow.dag_settings.rerun_triggers = frozenset()
    workflow.dag.ignore_incomplete = True
    if out_of_date:
        workflow.dag.forcefiles.update(outputs)
    if out_of_date or workflow.dag_settings.forceall or not all(map(os.path.exists, outputs)):
        return inputs
    return [ancient(path) for path in inputs if os.path.exists(path)]


def written_at(path):
    """When a file was written, in ns; None where there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None


def overridden(study):
    """What holds for this run and a study and is not said by config.yaml itself: texts by their keys."""
    own = machine.read_config(Path("config.yaml")) if os.path.exists("config.yaml") else machine.Config()
    here = {**dict(CONFIG), "study": study.name}
    return {key: text for key, text in here.items() if isinstance(text, str) and text != getattr(own, key)}


def look_at(product, study):
    """Whether a product is out of date. Changed code stops the run until the user has chosen what to do."""
    finished = finished_of(study)
    if CONFIG.changed is None and or_stop(finished.changes, product):
        sys.exit(f"Error: {fresh.stop(finished, overridden(study))}")
    told = (study.name, product)
    if told not in TOLD and (reason := finished.reason(product)) and reason != fresh.INHERITED:
        TOLD.add(told)
        print(f"{product} is made again: {reason}", file=sys.stderr)
    return or_stop(finished.out_of_date, product)


def describe(rule, text):
    """Give a rule, which a workflow that uses this one may have renamed or left out, a line for --list-target-rules."""
    if workflow.modifier.avail_rulename(rule):
        workflow.get_rule(workflow.modifier.modify_rulename(rule)).docstring = text


def form_of(rule, product):
    """How the products of a rule are named, their folder before their form."""
    return f"{product.folder or rule}/{product.form}"


def product_inputs(product):
    """An input function: the files of the products that a product is made from."""

    @signed
    def function(wildcards):
        study, name = study_of(wildcards), product.format(**wildcards)
        needed = files(study, or_stop(plan.inputs, name, study))
        if not workflow.is_main_process:
            return needed
        return inputs_of(files(study, [name]), needed, look_at(name, study))

    return function


def rendered_inputs(name, others=lambda study: []):
    """An input function: the files of the products that something to read is made from, and others'."""

    @signed
    def function(wildcards):
        study, compare = study_of(wildcards), CONFIG.compare and Path(CONFIG.compare)
        target = or_stop(rendered.Target, name.format(**wildcards), finished_of(study), Path(FIGURES), compare)
        needed = [*files(study, or_stop(lambda: target.products)), *others(study)]
        if not workflow.is_main_process:
            return needed
        return inputs_of(to_read(study, [target.name]), needed, or_stop(target.is_out_of_date))

    return function


def to_read(study, names):
    """The files of some targets of a study."""
    return [path for name in names for path in rendered.paths(name, study, RESULTS, FIGURES)]


def behind_page(study):
    """The files of all that a study writes but for its page."""
    return to_read(study, rendered.names(study)[:-1])
