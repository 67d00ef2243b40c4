# The study, its products' inputs and recipes, and what is checked before the first job.
jobs.prepare_environment()
# in the words of the rules, since Snakemake takes PYTHONPATH out of the environment of a job that has one of conda's
HANDED = quote(str(jobs.package_folder())).replace("{", "{{").replace("}", "}}") + "${{PYTHONPATH:+:$PYTHONPATH}}"
RUN = f"PYTHONPATH={HANDED} python3 -m contrastive_inversion"
CONFIG = or_stop(checked, machine.Config, config, "config.yaml")
or_stop(papers.use, CONFIG)
STUDY = or_stop(ready.study, CONFIG.study)
RESULTS, FIGURES = map(os.path.normpath, (CONFIG.results, CONFIG.figures))
PRODUCTS = or_stop(papers.products)
TOLD = set()  # the products of which it was said why they are made again
FOUND = {}  # when the files that were looked at had been written
if CONFIG.compare:
    or_stop(ready.check_sibling, Path(CONFIG.compare).name, STUDY, "config.yaml: compare")


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

    Files that stay need of their inputs nothing that is gone, and times, the words of a rule and Snakemake's notes of the
    last run, which get lost, say nothing about them. Nor does its note that a job was begun: files are written whole or
    not at all, and a job may have gone on after its Snakemake was killed.
    """
    share_memory()
    FOUND.update((path, written_at(path)) for path in outputs)
    workflow.dag_settings.rerun_triggers = frozenset()
    workflow.dag.ignore_incomplete = True
    if out_of_date:
        workflow.dag.forcefiles.update(outputs)
    if out_of_date or workflow.dag_settings.forceall or not all(map(os.path.exists, outputs)):
        return inputs
    return [ancient(path) for path in inputs if os.path.exists(path)]


def written_at(path):
    """When a file was written, in ns; None where there is none."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None


def look_at(product, study):
    """Whether a product is out of date. Changed code stops the run until the user has chosen what to do."""
    finished = finished_of(study)
    if CONFIG.changed is None and or_stop(finished.changes, product):
        sys.exit(f"Error: {fresh.stop(finished)}")
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
        target = rendered.Target(name.format(**wildcards), finished_of(study), Path(FIGURES), compare)
        needed = [*files(study, or_stop(lambda: target.products)), *others(study)]
        if not workflow.is_main_process:
            return needed
        return inputs_of([str(path) for path in target.files], needed, or_stop(target.is_out_of_date))

    return function


def study_tables(study):
    return [f"{RESULTS}/{study.name}/tables/table_{n}.csv" for n in study.settings.tables]


def study_figures(study, endings=rendered.ENDINGS["figure"]):
    return [f"{FIGURES}/{study.name}/figure_{n}.{end}" for n in study.settings.figures for end in endings]


def study_verdicts(study):
    several = ["spreads"] if len(study.settings.training_seeds) > 1 else []
    return [f"{RESULTS}/{study.name}/{name}.csv" for name in ("cells", "claims", *several)]


def behind_page(study):
    return [*study_tables(study), *study_figures(study), *study_verdicts(study)]


def study_targets(study):
    return [*behind_page(study), f"{RESULTS}/{study.name}/report.html"]


def share_memory():
    """Jobs on this machine share its RAM, where nobody says how much they may take. Those of a cluster do not."""
    if workflow.local_exec and not workflow.dryrun and "mem_mb" not in workflow.global_resources:
        workflow.register_resource("mem_mb", int(1000 * machine.ram_gb()))


def of_study(function, product):
    """A params or resources function: what is said of a product by its name and its study."""
    return signed(lambda wildcards: or_stop(function, product.format(**wildcards), study_of(wildcards)))


def of_job(function, product):
    """The same of what a plan says of the job that makes the product on the study's machine (see `run.costs`)."""

    def on_machine(name, study):
        return function(name, study, costs.machine_of(study, Path(RESULTS)))

    return of_study(on_machine, product)


def by_default(name):
    """What the profile's default resources say of a name, or None."""
    said = (workflow.resource_settings.default_resources or {}).get(name)
    return said and said.raw


def gpu_model_of(product):
    """A resources function: the model that the profile's default resources name, for a job that holds a GPU.

    Slurm's executor plugin takes every job with a model for one of a GPU, so that no default may reach the others.
    """
    model, on_gpu = by_default("gpu_model"), of_study(costs.gpus, product)
    return signed(lambda wildcards: model if model and on_gpu(wildcards) else None)


def partition_of(product):
    """The resource of a rule whose jobs without a GPU have a partition of their own, where the profile names one."""
    own, others = by_default("slurm_partition"), by_default("cpu_partition")
    on_gpu = of_study(costs.gpus, product)
    return {"slurm_partition": signed(lambda wildcards: own if on_gpu(wildcards) else others)} if others else {}


def cores_of(product):
    """A threads function: a job on this machine claims one core, since picture threads mostly wait for their GPU.

    Elsewhere a scheduler binds a job to what it asks for, picture threads included.
    """
    bound = of_study(costs.cores, product)
    return signed(lambda wildcards: 1 if workflow.local_exec else bound(wildcards))


def memory_of(product):
    """A resources function: a job's memory; in a scheduler's job lie two Snakemakes besides, which start it."""
    alone = of_job(costs.memory_mb, product)
    return signed(lambda wildcards: alone(wildcards) + (0 if workflow.local_exec else costs.SNAKEMAKES_MB))


def made(needed):
    """Those of the jobs that make a product."""
    return [job for job in needed if "recipe" in job.params.keys()]


def stop_unlimited_gpus(needed):
    """GPU jobs on this machine need a positive limit: without one Snakemake would start them all at once."""
    limit = workflow.global_resources.get("gpu")
    limit = getattr(limit, "value", limit)
    studies = [job.wildcards.study for job in needed if job.resources.get("gpu")]
    if studies and workflow.local_exec and not (isinstance(limit, int) and limit > 0):
        sys.exit(
            f"Error: study '{studies[0]}' trains on GPUs; say how many this machine has: snakemake --cores all --resources gpu=1"
        )


def stop_without_means(needed):
    """Data, weights, disk or memory that this run would need and that are not there stop it before any job."""
    recipes = {}
    for job in made(needed):
        study = study_of(job.wildcards)
        recipes.setdefault(study, {})[job.params.product] = plan.recipe_of(job.params.product, study)
    problems = [
        problem
        for study, some in recipes.items()
        for problem in or_stop(doctor.problems, some, study, Path(RESULTS), workflow.local_exec)
    ]
    if problems:
        others = "Tables and figures that need none of this still run by their names; see --list-target-rules."
        sys.exit("\n".join(["Error: nothing was started:", *(f"✗ {p}" for p in problems), others]))


def stop_without_torch(needed):
    """Jobs that compute need the extra `compute`, unless each runs in an environment or a container of its own."""
    recipes = {job.output[0]: (job.params.recipe, study_of(job.wildcards).paper) for job in made(needed)}
    computed = [file for file, recipe in recipes.items() if jobs.needs_torch(plan.read(*recipe)[0])]
    if computed and not workflow.deployment_settings.deployment_method and not find_spec("torch"):
        sys.exit(
            f"Error: {computed[0]} has to be computed, and torch is not installed; type: pip install -e '.[compute]'"
        )


def stop_without_image(needed):
    """Snakemake looks for an image on this disk only when a job starts in it, and every job would fail by itself."""
    if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
        for image in {job.container_img_url for job in needed if job.container_img_url}:
            if "://" not in image and not os.path.exists(image):
                build = "in a checkout: apptainer build envs/contrastive-inversion.sif envs/apptainer.def"
                sys.exit(f"Error: --sdm apptainer: there is no image {image}; type {build}")


def stop_refused_by_slurm(needed):
    """Under Slurm, a wrong partition, account or number of GPUs stops the run before any job is queued."""
    if workflow.executor_plugin.name == "slurm":
        asked = [(job.output[0], job.resources) for job in needed if not job.is_local]
        or_stop(slurm.check, asked, workflow.executor_settings)


def wait_for_earlier_run(needed):
    """What the jobs of a Snakemake that was killed still make is waited for; this one then begins anew and finds it.

    To submit it a second time would delete it, should it be made before the second job starts.
    """
    comments = [f"rule_{job.rule.name}_wildcards_{'_'.join(job.wildcards)}" for job in made(needed)]
    here = workflow.workdir_init
    if workflow.executor_plugin.name == "slurm" and or_stop(slurm.wait_for_queued, here, comments):
        os.chdir(here)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def look_for_jobs_only_when_one_ends():
    """Without Snakemake's own limit of 100 new jobs a second: one that was asked for stays.

    With a limit, Snakemake 9 looks for jobs to start once a second more for every job that has ended. After hundreds of
    jobs, that keeps a core busy (benchmarks/README.md).
    """
    limit = workflow.scheduler.job_rate_limiter
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def keep_what_appears():
    """A file that another Snakemake makes after this one has looked at it, and before its job begins here, is not deleted.

    The job finds it made; whoever made it goes on with it. Snakemake's own flag for output that stays, `update`, would
    copy the file first, and say of every job that fails that it cannot be restored.
    """
    remove = Job.remove_existing_output

    async def remove_what_was_there(job):
        if all(written_at(path) in (None, FOUND.get(path)) for path in job.output):
            await remove(job)

    Job.remove_existing_output = remove_what_was_there


onstart:
    look_for_jobs_only_when_one_ends()
    keep_what_appears()
    needed = list(workflow.dag.needrun_jobs())
    stop_without_image(needed)
    stop_refused_by_slurm(needed)
    stop_without_torch(needed)
    stop_unlimited_gpus(needed)
    stop_without_means(needed)
    wait_for_earlier_run(needed)
