# What is looked at before the first job, and what is changed in Snakemake itself.
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


def holds_gpus_here(needed):
    """Whether any of the jobs computes on this machine's GPUs, with the torch that is at work here."""
    here = workflow.local_exec and not workflow.deployment_settings.deployment_method
    return here and any(job.resources.get("gpu") for job in needed)


def stop_without_means(needed):
    """Data, weights, disk, memory or GPUs that this run would need and that are not there stop it before any job."""
    recipes = {}
    for job in made(needed):
        study = study_of(job.wildcards)
        recipes.setdefault(study, {})[job.params.product] = plan.recipe_of(job.params.product, study)
    problems = [
        problem
        for study, some in recipes.items()
        for problem in or_stop(doctor.problems, some, study, Path(RESULTS), workflow.local_exec)
    ]
    problems += or_stop(doctor.gpu_problems) if holds_gpus_here(needed) else []
    if problems:
        others = "Tables and figures that need none of this still run by their names; see --list-target-rules."
        sys.exit("\n".join(["Error: nothing was started:", *(f"✗ {p}" for p in problems), others]))


def stop_without_torch(needed):
    """Jobs that compute need the extra `compute`, unless each runs in an environment or a container of its own."""
    recipes = {job.output[0]: (job.params.recipe, study_of(job.wildcards).paper) for job in made(needed)}
    computed = [file for file, recipe in recipes.items() if plan.read(*recipe)[0].computes]
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
