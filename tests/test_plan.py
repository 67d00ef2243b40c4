"""What a study costs: work from recipes, rates from one file, the schedule, what rules ask for, and the rehearsal."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from filelock import FileLock
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

import flow
from contrastive_inversion import papers
from contrastive_inversion.base import files, gpus, machine, rates
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job, Report
from contrastive_inversion.base.rates import Measured, Rehearsed
from contrastive_inversion.data import characters
from contrastive_inversion.data.settings import DATA_SET
from contrastive_inversion.data.work import count
from contrastive_inversion.learn import networks, outputs, penalties
from contrastive_inversion.learn.settings import Network
from contrastive_inversion.learn.work import LIVE, embedding
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.study import changed, differences
from contrastive_inversion.papers.contrastive_robustness import work
from contrastive_inversion.run import budget, cli, costs, doctor, fits, jobs, origins, rehearsal, stand_ins
from contrastive_inversion.run.schedule import Task, makespan
from ledgers import study_but

MEASURED = ("paper", "authors", "demo", "demo-seeds", "smoke", "simclr", "simclr-authors", "simclr-demo")
H100 = costs.Machine("H100", {})


def whole(name, tmp_path):
    """All products of a study, and what each costs."""
    study = papers.study(name)
    here = costs.machine_of(study, tmp_path)
    products = plan.everything(study)
    return study, {product: costs.cost(product, study, here) for product in products}


# --- work and rates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", rates.published().networks.of)
def test_the_networks_take_what_the_file_says(name):
    architecture, _, model = name.partition("/")
    said = rates.published().networks.of[name]
    network = networks.build(Network(architecture=architecture, model=model, mean=[0.5] * 3, std=[0.5] * 3)).to("meta")
    images, kept = torch.empty(2, 3, said.size, said.size, device="meta"), {}
    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}

    def keep(tensor):
        if tensor.untyped_storage()._cdata not in weights:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network(images)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(images)
    assert said.gflop == pytest.approx(counted.get_total_flops() / 2e9, rel=0.01)
    assert said.weights == pytest.approx(sum(p.numel() for p in network.parameters()), rel=0.01)
    assert said.dim == network.dim
    megabytes = sum(each.untyped_storage().nbytes() for each in kept.values()) / 2e6
    assert said.kept_mb == pytest.approx(megabytes, rel=0.1)


def test_characters_of_no_named_classes_are_all_that_there_are():
    settings = DATA_SET.validate_python({"source": "glyphs", "train": 2, "stored": 48})
    assert count(settings, "train") == 2 * len(characters.classes())


class Flops(TorchDispatchMode):
    """Counts as FlopCounterMode does, which stops where a gradient is differentiated again."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


@pytest.mark.parametrize("scale", ["per_image", "summed", "mean_loss"])
def test_a_step_with_a_penalty_takes_what_the_plan_says_in_each_form(scale):
    network = networks.build(papers.study("simclr").settings.networks.supervised).train()
    images, kept = torch.rand(2, 3, 32, 32, requires_grad=True), {}
    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}

    def keep(tensor):
        if tensor.untyped_storage()._cdata not in weights:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with Flops() as counted, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses, forward = network(images).square().mean(dim=1), counted.total
        without = sum(each.untyped_storage().nbytes() for each in kept.values())
        penalties.supervised(losses, images, 1, scale).backward()
    assert counted.total / forward == pytest.approx(work.TWICE, rel=0.02)
    assert sum(each.untyped_storage().nbytes() for each in kept.values()) / without == pytest.approx(
        work.KEPT, rel=0.05
    )


def test_a_penalty_takes_the_plan_s_passes_and_memory():
    plain, penalised = (costs.work_of(f"encoders/supervised{m}", papers.study("simclr")) for m in ("", "-lambda1"))
    assert penalised.device["train_fp32"] == pytest.approx(2 * plain.device["train_fp32"])
    assert penalised.image_gb == pytest.approx(2 * plain.image_gb)


@pytest.mark.parametrize(("targets", "passes"), [("kept", 3), ("computed", 4)])
def test_a_student_takes_its_epochs_times_its_images_times_its_forward_passes(targets, passes):
    """Three of its own, and one of its teacher where no job has kept what that gives."""
    work = costs.work_of("encoders/student-gb37", study_but("paper", distill={"targets": targets}))
    assert work.device["train_16bit"] == pytest.approx(25 * 126_689 * passes * 19.52 / 1000)
    assert work.feed == {"crop": 25 * 126_689}
    assert 20 < work.gpu_gb < 24  # 256 images of 71 MB, and weights with their optimiser's state
    assert work.state_gb == pytest.approx(3 * 4 * 56.3e6 / 1e9, rel=0.01)


def test_a_training_takes_the_time_of_its_checkpoints():
    """Which a rehearsal of few steps an epoch spends the most of its time on."""
    product, seconds = "encoders/student-gb37", rates.published().host.of["save"]
    work = costs.work_of(product, papers.study("paper"))
    assert work.host == {"save": pytest.approx(work.saves * work.state_gb)} and work.saves == 25
    saves = work.saves * work.state_gb * seconds
    assert costs.cost(product, papers.study("paper"), H100).busy_seconds == pytest.approx(
        saves + costs.on_device(work.device, H100.speeds)
    )


def test_a_student_holds_the_targets_that_are_kept():
    product = "encoders/student-gb37"
    kept, computed = (
        costs.work_of(product, study_but("paper", distill={"targets": each})).ram_gb for each in ("kept", "computed")
    )
    assert kept - computed == pytest.approx(25 * 126_689 * 512 * 4 / 1e9)


def test_a_measurement_reads_undistorted_pictures_once_whatever_the_number_of_its_levels():
    study = papers.study("paper")
    work = costs.work_of("measurements/teacher/imagenet100", study)
    assert work.feed == {"centre": 5000}
    # six of eight levels are drawn ten times; what they are beside is embedded once
    assert work.device["embed_fp32"] == pytest.approx((6 * 10 + 2 + 1) * 5000 * 19.52 / 1000)
    released = costs.work_of("measurements/baseline-clean/imagenet100c", study).feed
    assert released == dict.fromkeys(("centre", "decode"), 19 * 5 * 5000)


def test_sixteen_bits_spare_two_fifths_of_the_hours_and_change_the_precision_alone(tmp_path):
    found = differences(papers.study("paper-16bit"), papers.study("paper"))
    assert {key.rpartition(".")[2] for key, *_ in found} == {"precision"} and len(found) == 5
    exact, rounded = (
        sum(cost.gpu_seconds for cost in whole(name, tmp_path)[1].values()) for name in ("paper", "paper-16bit")
    )
    assert rounded < 0.6 * exact and rounded <= 30 * 3600 < exact  # docs/plan.md says so


def test_costs_follow_settings_and_not_the_study_s_name(study_of):
    short, usual = study_of("distill: {epochs: 5}", parent="paper"), papers.study("paper")
    product = "encoders/student-gb37"
    ratio = costs.cost(product, usual, H100).busy_seconds / costs.cost(product, short, H100).busy_seconds
    assert ratio == pytest.approx(5)
    other = study_of("networks: {student: {model: RN50}}", "other", "paper")
    assert costs.cost(product, other, H100).seconds > 0  # taken for the largest network that is known


def test_embeddings_that_heads_are_fitted_on_lie_on_the_device_twice_while_they_are_joined():
    """As `outputs.over` holds them, its batches and then all of them: 1.04 GB each of ResNet-101's."""
    study = papers.study("paper")
    whole = costs.work_of("heads/resnet/imagenet100", study)
    assert whole.gpu_gb - frozen_gb("baseline", study, 250) == pytest.approx(2 * 126_689 * 2048 * 4 / 1e9)
    assert whole.ram_gb < 1  # and nowhere else
    seen = []

    class Peak(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.cat.default:
                seen.append((sum(each.nbytes for each in args[0]), out.nbytes))
            return out

    with Peak():
        outputs.over([torch.empty(250, 3, 8, 8, device="meta")] * 3, torch.nn.Flatten(), "meta")
    assert seen == [(3 * 250 * 192 * 4,) * 2]
    report = costs.work_of("heads/contrastive/cifar10", papers.study("simclr"))
    assert report.gpu_gb > 2 * 50_000 * 512 * 4 / 1e9 and report.ram_gb < 1


def frozen_gb(name, study, batch):
    """What a study's network takes of a GPU that only embeds, by the plan."""
    return embedding(getattr(study.settings.networks, name), study.settings.image_size, 1, {}, batch).gpu_gb


@pytest.mark.parametrize("name", MEASURED)
def test_every_kind_of_job_says_what_it_takes(name, tmp_path):
    study, found = whole(name, tmp_path)
    assert {cost.kind for cost in found.values()} <= set(study.paper.jobs)
    for product, cost in found.items():
        work = costs.work_of(product, study)
        assert work.device or work.host or cost.kind == "gallery", product
        assert 0 < cost.busy_seconds < cost.seconds and cost.ram_gb > 0.4, product


@pytest.mark.parametrize("name", ["paper", "authors", "simclr", "simclr-authors"])
def test_no_job_of_the_real_studies_takes_more_than_a_day_or_64_gb_or_a_card_of_80(name, tmp_path):
    _, found = whole(name, tmp_path)
    large = {product: (cost.seconds / 3600, cost.ram_gb, cost.gpu_gb) for product, cost in found.items()}
    assert not {product: each for product, each in large.items() if each[0] > 24 or each[1] > 64 or each[2] >= 80}


def test_a_frozen_trunk_keeps_nothing_for_a_backward_pass_and_recomputes_nothing():
    change = {"recompute": True}
    frozen, again = (
        costs.work_of("encoders/baseline-clean", study_but("authors", clean_baseline=more)) for more in ({}, change)
    )
    assert frozen.batch == 1024 and 8 < frozen.gpu_gb < 12  # 146 GB where it is trained
    assert again == frozen
    product = "encoders/baseline-rm90"
    whole, sparing = (costs.work_of(product, study_but("authors", finetune=more)) for more in ({}, change))
    assert sparing.gpu_gb < 0.6 * whole.gpu_gb
    detached, trained = (
        costs.work_of("encoders/finetuned", study_but("simclr", finetuned={"encoder": each}))
        for each in ("detached", "trained")
    )
    assert detached.image_gb == pytest.approx(LIVE * trained.image_gb)


def test_the_demo_takes_the_disk_that_it_was_seen_to_take(tmp_path):
    _, found = whole("demo", tmp_path)
    assert sum(cost.kept_gb for cost in found.values()) == pytest.approx(0.74, rel=0.3)


# --- scheduling -----------------------------------------------------------------------------------------------------


def test_jobs_are_started_by_priority_and_never_beyond_what_there_is():
    tasks = {
        "short": Task(1, [], 1, gpus=1), "long": Task(3, [], 3, gpus=1), "after": Task(2, ["short"], 2, gpus=1),
        "cpu": Task(1, [], 0),
    }  # fmt: skip
    assert makespan(tasks, gpus=1, cores=4) == 6  # long, short, after; cpu beside them
    assert makespan(tasks, gpus=2, cores=2) == 4  # long beside short and after, then cpu
    assert makespan(tasks, gpus=2, cores=1) == 7  # one after the other
    with pytest.raises(ValueError, match=r"^short needs more GPUs \(1\) than there are \(0\)$"):
        makespan(tasks, gpus=0, cores=4)


def test_what_long_chains_wait_for_comes_first(tmp_path):
    study = papers.study("paper")
    first = {name: costs.priority(f"encoders/{name}", study, H100) for name in ("resnet100", "student-rm90")}
    assert first["resnet100"] > first["student-rm90"]
    for product in ("encoders/student-rm90", "encoders/teacher", "encoders/resnet"):
        assert costs.priority(product, study, H100) > costs.priority(
            "measurements/student-rm90/imagenet100", study, H100
        )
    tails = costs.longest_tails({"a": [], "b": ["a"], "c": ["a"], "d": ["c"]}, {"a": 1, "b": 5, "c": 2, "d": 4})
    assert tails == {"a": 7, "b": 5, "c": 6, "d": 4}


def test_resources_follow_job_and_study(tmp_path):
    paper, demo = papers.study("paper"), papers.study("demo")
    cpu = costs.machine_of(demo, tmp_path)
    product = "encoders/resnet100"
    assert costs.gpus(product, paper) == 1 and costs.gpus(product, demo) == 0
    assert costs.runtime_minutes(product, demo, cpu) < 60 < costs.runtime_minutes(product, paper, H100) < 24 * 60
    assert costs.memory_mb(product, demo, cpu) < 2000 < costs.memory_mb(product, paper, H100) < 16_000
    assert costs.gpus("encoders/teacher", paper) == 0  # read from a published file
    assert costs.picture_threads(product, paper) == 4 and costs.picture_threads(product, demo) == 1
    assert all(
        costs.gpus(each, papers.study("published")) == 0 for each in plan.measurements(papers.study("published"))
    )


# --- the command ----------------------------------------------------------------------------------------------------


def test_a_plan_has_a_row_for_each_kind_and_each_target(capsys):
    assert cli.main(["plan", "table_1", "figure_3", "--study", "paper"]) == 0
    output = capsys.readouterr().out
    rows = {line.split("|")[1].strip() for line in output.splitlines() if line.startswith("|")}
    assert {"distill", "supervised", "heads", "measure", "images", "weights", "table_1", "figure_3", "all"} <= rows
    one = next(line for line in output.splitlines() if line.startswith("| table_1 "))
    study = papers.study("paper")
    found = budget.of(["table_1"], study, H100)
    memory = [max(getattr(cost, which) for cost in found.costs.values()) for which in ("gpu_gb", "ram_gb")]
    sizes = [*memory, found.total("written_gb"), found.total("kept_gb")]
    assert [cell.strip() for cell in one.split("|")[5:9]] == [budget.rounded(each) for each in sizes]
    assert "on H100" in output and "assumed, worked out from published throughputs" in output
    assert cli.main(["plan", "table_3", "--study", "paper"]) == 0 and "| table_3  |      0 |" in capsys.readouterr().out
    assert cli.main(["plan", "table_99", "--study", "paper"]) == 1
    assert "has no target 'table_99'" in capsys.readouterr().err


def test_a_plan_for_a_card_without_rates_says_so_in_its_first_line(capsys):
    def first_line(card):
        assert cli.main(["plan", "table_1", "--study", "paper", "--card", card]) == 0
        return capsys.readouterr().out.splitlines()[0]

    assert first_line("cpu") == first_line("CPU") == "Study paper on CPUs."
    assert first_line("rtx3090") == "Study paper on rtx3090."
    assumed = "assumed, as of an A100 for want of numbers for B200"
    assert first_line("B200") == f"Study paper on B200, {assumed}."


def test_a_card_has_the_rates_of_its_name_however_it_is_written():
    known = rates.published()
    assert known.device("rtx3090") == known.device("NVIDIA GeForce RTX 3090") == known.devices["RTX 3090"]
    assert known.device("a100") == known.devices["A100"] and "A100" in known.device("A30").origin


def test_more_gpus_never_take_longer_and_never_beat_the_longest_chain(tmp_path):
    study = papers.study("simclr")
    whole = budget.of([], study, H100)
    walls = [3600 * whole.hours_on(gpus, 32) for gpus in (1, 4, 8)]
    assert walls == sorted(walls, reverse=True)
    assert walls[-1] >= max(costs.tails(study, H100).values()) - 1e-6
    assert walls[0] >= whole.total("gpu_seconds")


# --- rehearsal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_gpu", [True, False])
@pytest.mark.parametrize("name", ["paper", "authors", "demo", "simclr"])
def test_a_rehearsal_has_every_kind_of_job(name, on_gpu):
    study = papers.study(name)
    small = rehearsal.lowered(study, on_gpu and study.settings.gpu > 0)
    recipes = plan.everything(small)
    wanted = {study.paper.kind_of(r) for r in plan.everything(study).values()}
    assert {study.paper.kind_of(recipe) for recipe in recipes.values()} == wanted
    if on_gpu and name == "paper":
        assert recipes["encoders/student-gn30"].settings.batch == study.settings.distill.batch  # at its real shape


@pytest.mark.parametrize("name", ["paper", "simclr"])
def test_a_rehearsal_makes_first_what_a_job_waits_for_and_one_whole_chain_before_another(name):
    study = rehearsal.lowered(papers.study(name), on_gpu=True)
    order = rehearsal.in_order(study)
    for place, product in enumerate(order):
        assert {*plan.recipe_of(product, study).waits_for} <= {*order[:place]}, product
    kinds = [study.paper.kind_of(plan.recipe_of(product, study)) for product in order]
    trainings = [place for place, kind in enumerate(kinds) if study.paper.jobs[kind].trains]
    assert {"measure", "attack"} & {*kinds[trainings[0] : trainings[1]]}
    if name == "paper":  # a student that finds no kept targets computes them, which its plan does not have
        assert order.index("targets/seed1234") < order.index("encoders/student-gn30")


@pytest.fixture
def one_job(tmp_path, monkeypatch):
    """What a rehearsal makes of a training on a card that took 30 s in two epochs of 16 steps, 3 s the first step."""
    study = rehearsal.lowered(papers.study("paper"), on_gpu=True)

    def trial(cards, **record):
        stage = rehearsal.Stage(tmp_path, cards, time.monotonic() + 60)
        job = Job("encoders/resnet100", tmp_path / study.name, "")

        def command(*arguments):
            note = {"seconds": 30, "first_seconds": 3, "first_share": 1 / 32} | record.pop("note", {})
            report = Report(product=job.product, state="finished", updated=0, **note)
            files.write_text(job.state / "progress.json", report.model_dump_json())
            files.write_json(job.path, {"gpu_gb": 40.0} | record)
            return 5.0

        monkeypatch.setattr(rehearsal, "command", command)
        monkeypatch.setattr(files, "record_in", files.read_json)
        (found,) = rehearsal.made(job.product, study, stage)
        return found, costs.cost(job.product, study, costs.Machine(stage.card, {}))

    return trial


def test_a_gpu_s_clock_starts_after_the_first_step_which_loads_its_kernels(one_job):
    found, planned = one_job([card(80)])
    assert found.seconds == 27 and found.planned == pytest.approx(31 / 32 * planned.busy_seconds)
    found, planned = one_job([card(80)], note={"first_share": 1, "first_seconds": 29})  # there is no other part
    assert found.seconds == 30 and found.planned == planned.busy_seconds
    found, planned = one_job([])
    assert found.seconds == 30 and found.planned == planned.busy_seconds


def test_what_cuda_keeps_for_itself_does_not_vanish_after_a_rehearsal(one_job):
    """Of a job that reserves what the plan says it should the plan's memory stays, and never beyond the card's."""
    product, study = "encoders/resnet100", rehearsal.lowered(papers.study("paper"), on_gpu=True)
    reserved = costs.work_of(product, study).gpu_gb
    assert one_job([card(80)], gpu_gb=reserved)[0].gpu == pytest.approx(1)
    found, planned = one_job([card(32)], gpu_gb=33.9)
    assert found.gpu * planned.gpu_gb == pytest.approx(32 * 2**30 / 1e9)


def test_a_job_of_moments_says_nothing_of_a_kind_s_time():
    moments, long = (rehearsal.Trial("measure", *each) for each in ((2.0, 0.01, 3.0), (8.0, 4.0)))
    (found,) = rehearsal.by_kind([moments, long], papers.study("paper")).values()
    assert found.ratio == 2 and found.ram == 3 and found.work == "1 job, 8.0 s"
    assert rehearsal.by_kind([moments] * 100, papers.study("paper")) == {}


def test_of_ram_a_rehearsal_raises_the_plan_and_never_lowers_it():
    """The teacher's embeddings of all images are most of what `targets` holds, and a rehearsal has few images."""
    found = [rehearsal.together([rehearsal.Trial("targets", 5, 5, ram)]).ram for ram in (0.5, 1.2)]
    assert found == [1, 1.2]


def test_a_job_that_fills_its_card_is_not_taken_to_need_all_of_it():
    """Deep Decoders are fitted as many at once as there is room for: on 80 GB more of them than on 40."""
    study = rehearsal.lowered(papers.study("paper"), on_gpu=True)
    filling = {product.split("/")[0] for product in plan.everything(study) if rehearsal.fills_card(product, study)}
    assert filling == {"inpainted"}


def test_of_a_gpu_s_memory_the_largest_job_speaks():
    """A small one may reserve much more than the plan has, and a large one, which then fitted, would be refused."""
    small, large = (rehearsal.Trial("supervised", 5, 5, 1, gpu, gb) for gpu, gb in ((1.3, 11.0), (1.02, 38.0)))
    assert rehearsal.together([small, large]).gpu == rehearsal.together([large, small]).gpu == 1.02


def test_what_a_job_takes_of_ram_is_its_own_and_not_the_store_that_it_reads(tmp_path):
    path = tmp_path / "store"
    path.write_bytes(bytes(400_000_000))
    own = "import numpy, sys, time; held = numpy.ones(25_000_000); "
    shared = f"store = numpy.memmap({str(path)!r}, 'uint8', 'r'); store.sum(); "
    taken = [
        rehearsal.awaited(subprocess.Popen([sys.executable, "-c", f"{own}{also}time.sleep(0.5)"]), 60)
        for also in ("", shared)
    ]
    assert taken[0] == pytest.approx(0.2, abs=0.1) and taken[1] == pytest.approx(taken[0], abs=0.1)


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("paper", "H100"), ("paper", "A100"), ("paper", "RTX 3090"), ("authors", "H100"), ("paper-16bit", "RTX 3090"),
        ("imagenette", "RTX 3090"), ("imagenette-12gb", "RTX 3060"), ("simclr", "RTX 3060"),
    ],
)  # fmt: skip
def test_a_rehearsal_is_planned_to_be_done_in_its_ten_minutes(name, card):
    study = rehearsal.lowered(papers.study(name), on_gpu=True)
    seconds = [costs.cost(product, study, costs.Machine(card, {})).seconds for product in rehearsal.in_order(study)]
    assert sum(seconds) < 0.9 * 60 * rehearsal.MINUTES


def test_a_kind_that_a_rehearsal_says_nothing_of_is_named_with_the_reason():
    study = rehearsal.lowered(papers.study("paper"), on_gpu=True)
    kinds = study.paper.jobs.keys() - {"weights", "distill", "gallery"}
    trials = [rehearsal.Trial(kind, 5, 5) for kind in kinds] + [rehearsal.Trial("gallery", 1, n) for n in (0.1, 0.25)]
    assert list(rehearsal.unmeasured(trials, study)) == [
        "gallery: not measured, as the plan has 0.25 s for the longest that was run, and less than 0.5 s tells "
        "nothing; what is known of it stays",
        "weights: not measured, as random weights stand in for published ones; what is known of it stays",
        "distill: not measured, as the time was over; what is known of it stays",
    ]


def test_a_gpu_rehearses_a_whole_block_of_deep_decoders_for_long_enough():
    """As many as it fits at once, the plan's memory among what that measures."""
    study = papers.study("paper")
    small, product = rehearsal.lowered(study, on_gpu=True), "inpainted/imagenet100/rm50/0"
    real, rehearsed = (plan.recipe_of(product, each) for each in (study, small))
    assert rehearsed.settings.images / rehearsed.blocks == real.settings.images / real.blocks == 100
    assert rehearsed.settings.steps >= 10
    for card in ("NVIDIA H100", "NVIDIA H200"):
        assert costs.cost(product, small, costs.Machine(card, {})).busy_seconds > 3 * rehearsal.WORTH


def test_a_rehearsal_measures_and_the_plan_reads_it(study_of, tmp_path, monkeypatch):
    also = "tables: []\nfigures: []\nalso: ['resnet100 | own | imagenet100 | clean | top1']\n"
    study = study_of(also + "resnet100: {epochs: 1, batch: 50}", parent="smoke")
    monkeypatch.setattr(rehearsal, "lowered", lambda study, on_gpu: study)
    monkeypatch.setattr(rehearsal, "WORTH", 0)
    found = rehearsal.rehearse(study, tmp_path)
    assert set(found.kinds) == {f"inverse_problems/{kind}" for kind in ("images", "supervised", "measure")}
    assert rates.rehearsed(tmp_path) == found
    assert {path.name for path in tmp_path.iterdir()} == {"own studies", rates.REHEARSED}
    assumed, here = costs.Machine(None, {}), costs.machine_of(study, tmp_path)
    cost, other = (costs.cost("encoders/resnet100", study, each) for each in (here, assumed))
    ratio = found.kinds["inverse_problems/supervised"].ratio
    assert cost.busy_seconds == pytest.approx(ratio * other.busy_seconds) and "measured here" in cost.origin


def test_what_needs_no_device_is_measured_whatever_the_card(tmp_path):
    kinds = {f"inverse_problems/{kind}": Measured(ratio=7, ram=3, work="") for kind in ("images", "denoise", "distill")}
    files.write_json(tmp_path / rates.REHEARSED, Rehearsed(device=None, kinds=kinds).model_dump())
    study = papers.study("paper")
    here, assumed = costs.machine_of(study, tmp_path), H100
    for product, times in {"images/cifar10": 7, "denoised/imagenet100/gn10/0": 7, "encoders/student-rm90": 1}.items():
        found, other = (costs.cost(product, study, each) for each in (here, assumed))
        assert found.busy_seconds == pytest.approx(times * other.busy_seconds), product
        assert ("measured here" in found.origin) == (times > 1)
    assert costs.cost("images/cifar10", study, here).ram_gb == 3 * costs.cost("images/cifar10", study, assumed).ram_gb


def test_a_rehearsal_that_is_interrupted_or_fails_leaves_the_old_rates(study_of, tmp_path, monkeypatch):
    study = study_of("tables: []\nfigures: []\nalso: ['resnet100 | own | imagenet100 | clean | top1']", parent="smoke")
    monkeypatch.setattr(rehearsal, "lowered", lambda study, on_gpu: study)
    old = Rehearsed(device=None, kinds={"inverse_problems/heads": Measured(ratio=2, work="")})
    files.write_json(tmp_path / rates.REHEARSED, old.model_dump())
    for error in (KeyboardInterrupt(), UserError("encoders/resnet100: the GPU's memory does not suffice")):

        def command(*arguments, error=error):
            raise error

        monkeypatch.setattr(rehearsal, "command", command)
        with pytest.raises(type(error)):
            rehearsal.rehearse(study, tmp_path)
        assert rates.rehearsed(tmp_path) == old and not list(tmp_path.glob(".rehearsal*"))


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_rehearsal_that_is_ended_ends_its_job_and_leaves_nothing(tmp_path, ending):
    code = (  # that tells its job's process as soon as it waits for it
        "import pathlib, sys; from contrastive_inversion.run import cli, rehearsal; sys.executable = sys.argv[1];"
        "told = pathlib.Path('told'); rehearsal.own_gb = lambda job: told.exists() or told.write_text(str(job));"
        "sys.exit(cli.main(['rehearse', '--study', 'smoke', '--results', 'results']))"
    )
    job, told = tmp_path / "python", tmp_path / "told"
    job.write_text("#!/bin/sh\nexec sleep 1000\n")
    job.chmod(0o755)
    killed = tmp_path / "results/.rehearsal-killed"
    (killed / "smoke").mkdir(parents=True)
    os.utime(killed, (0, 0))  # a younger one may be about to take its lock
    begin = functools.partial(signal.signal, ending, signal.SIG_DFL)  # these tests may themselves run under nohup
    with subprocess.Popen(
        [sys.executable, "-c", code, str(job)], cwd=tmp_path, env=flow.environment(), preexec_fn=begin
    ) as process:
        while not (told.exists() and told.read_text()) and process.poll() is None:
            time.sleep(0.05)
        assert [path.name for path in (tmp_path / "results").iterdir()] != [killed.name] and not killed.exists()
        process.send_signal(ending)
    assert process.returncode == 130 and list((tmp_path / "results").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


def test_the_folder_of_a_living_rehearsal_stays(tmp_path):
    living, killed = (tmp_path / f".rehearsal-{name}" for name in ("living", "killed"))
    killed.mkdir()
    os.utime(killed, (0, 0))
    with FileLock(living / "lock"):
        rehearsal.clear_up(tmp_path)
        assert living.exists() and not killed.exists()


def test_a_job_that_is_not_done_in_time_is_ended_and_said_not_to_be_measured(study_of, tmp_path, monkeypatch, capsys):
    study = study_of("tables: []\nfigures: []\nalso: ['resnet100 | own | imagenet100 | clean | top1']", parent="smoke")
    slow, began = tmp_path / "python", time.monotonic()
    slow.write_text("#!/bin/sh\nexec sleep 100\n")
    slow.chmod(0o755)
    monkeypatch.setattr(rehearsal.sys, "executable", str(slow))
    monkeypatch.setattr(rehearsal, "lowered", lambda study, on_gpu: study)
    assert rehearsal.rehearse(study, tmp_path / "results", minutes=0.02).kinds == {}
    assert time.monotonic() - began < 50
    late, *kinds = capsys.readouterr().out.splitlines()[1:]
    assert late == "images/imagenet100 and what follows are not measured, as 0.02 minutes are over"
    why = "not measured, as the time was over; what is known of it stays"
    assert kinds == [f"{kind}: {why}" for kind in ("images", "supervised", "measure")]
    assert [path.name for path in (tmp_path / "results").iterdir()] == [rates.REHEARSED]


def test_a_rehearsal_is_of_one_kind_of_card_the_first_that_is_visible(tmp_path, monkeypatch):
    cards = [gpus.Card(str(n), f"GPU-{n}", name, 80, 0) for n, name in enumerate(["H100", "A100", "H200", "A100"])]
    monkeypatch.setattr(gpus, "installed", lambda: cards)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,0,1")
    stages = []

    def made(product, study, stage):
        stages.append(stage)
        raise rehearsal.Late(product)

    monkeypatch.setattr(rehearsal, "made", made)
    assert rehearsal.rehearse(papers.study("paper"), tmp_path).device == "A100"
    assert stages[0].environment["CUDA_VISIBLE_DEVICES"] == "GPU-3,GPU-1" and stages[0].card == "A100"


def test_pictures_of_a_rehearsal_are_as_large_as_imagenet_s(tmp_path):
    sizes = [path.stat().st_size for path in stand_ins.pictures(tmp_path / "pictures")]
    assert all(95_000 < size < 125_000 for size in sizes) and len(set(sizes)) == stand_ins.PICTURES


def test_a_damaged_file_of_rates_is_told(tmp_path):
    (tmp_path / rates.REHEARSED).write_text(json.dumps({"device": None, "kinds": {"a": {"ratio": -1, "work": ""}}}))
    with pytest.raises(UserError, match=r"rates.json: kinds.a.ratio: -1 is not above 0"):
        rates.rehearsed(tmp_path)


# --- too little -----------------------------------------------------------------------------------------------------


def card(gib):
    return gpus.Card("0", "GPU-1", "NVIDIA A10", gib, 0.0)


def amiss(monkeypatch, tmp_path, *products, **here):
    monkeypatch.setattr(machine, "ram_gb", lambda: here.get("ram", 64))
    monkeypatch.setattr(gpus, "installed", lambda: here.get("cards") or [card(here.get("gpu", 80))])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if mask := here.get("mask"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
    study = here.get("study") or papers.study("paper")
    recipes = {product: plan.recipe_of(product, study) for product in products}
    return doctor.problems(recipes, study, tmp_path, here=True)


def free(monkeypatch, gigabytes):
    monkeypatch.setattr(fits.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1e9 * gigabytes}))


def test_too_little_of_a_machine_is_refused_with_the_setting_that_would_fit(monkeypatch, tmp_path):
    product = "encoders/resnet100"
    assert amiss(monkeypatch, tmp_path, product) == []
    (line,) = amiss(monkeypatch, tmp_path, product, gpu=24)
    assert line == (
        "GPU: encoders/resnet100 takes about 38 GB of memory, and NVIDIA A10 has 26 GB; "
        "with `resnet100.recompute: true` in the study file it would fit, and the numbers stay the same"
    )
    assert amiss(monkeypatch, tmp_path, product, gpu=24, study=study_but("paper", resnet100={"recompute": True})) == []
    (line,) = amiss(monkeypatch, tmp_path, product, ram=4)
    assert line.startswith("RAM: encoders/resnet100 takes about 5 GB, and this machine has 4 GB; no setting lets it")
    free(monkeypatch, 0.1)
    (line,) = amiss(monkeypatch, tmp_path, product)
    assert line.startswith("disk: about 680 MB needed, 100 MB free; free some space, move results, or")


@pytest.mark.parametrize(
    ("name", "product", "gpu", "section"),
    [
        ("paper", "encoders/resnet100", 10, "resnet100"),  # too little for exact settings too
        ("authors", "encoders/baseline-clean", 6, "clean_baseline"),  # frozen: nothing is kept, or computed anew
        ("authors", "encoders/baseline-rm50", 6, "finetune"),
        ("simclr", "encoders/contrastive-lambda1", 4, "contrastive"),
    ],
)
def test_a_smaller_batch_comes_last_and_is_called_another_training(name, product, gpu, section, monkeypatch, tmp_path):
    study = papers.study(name)
    (line,) = amiss(monkeypatch, tmp_path, product, gpu=gpu, study=study)
    assert line.endswith(" in the study file it would fit, which is another training")
    batch = int(line.split(f"with `{section}.batch: ")[1].split("`")[0])
    fits, more = (changed(study, {section: {"batch": count}}) for count in (batch, batch + 1))
    assert amiss(monkeypatch, tmp_path, product, gpu=gpu, study=fits) == []
    assert amiss(monkeypatch, tmp_path, product, gpu=gpu, study=more)


def test_fewer_images_at_a_time_change_no_measurement(monkeypatch, tmp_path):
    study = study_but("paper", evaluate={"batch": 5000})
    (line,) = amiss(monkeypatch, tmp_path, "measurements/teacher/imagenet100", gpu=24, study=study)
    assert "with `evaluate.batch: " in line and line.endswith("it would fit, and the numbers stay the same")


@pytest.mark.parametrize("product", ["targets/seed1234", "encoders/student-rm90"])
def test_targets_that_do_not_fit_are_computed_instead(product, monkeypatch, tmp_path):
    (line,) = amiss(monkeypatch, tmp_path, product, ram=9)
    assert line.startswith(f"RAM: {product} takes about 1")
    assert line.endswith(
        "with `distill.targets: computed` in the study file it would fit, and the numbers stay the same"
    )
    computed = study_but("paper", distill={"targets": "computed"})
    assert amiss(monkeypatch, tmp_path, "encoders/student-rm90", ram=9, study=computed) == []


def test_a_disk_that_the_kept_targets_fill_is_told_to_do_without(monkeypatch, tmp_path):
    products = ("targets/seed1234", "encoders/student-rm90")
    free(monkeypatch, 5)
    (line,) = amiss(monkeypatch, tmp_path, *products)
    assert line.startswith("disk: about 7 GB needed, 5 GB free; set `distill.targets: computed` in the study file, wh")
    free(monkeypatch, 0.1)  # where that would not do it is not named
    (line,) = amiss(monkeypatch, tmp_path, *products)
    assert line.startswith("disk: about 7 GB needed, 100 MB free; free some space, move results, or")


def test_what_was_rehearsed_is_what_memory_is_checked_by(monkeypatch, tmp_path, capsys):
    """A rehearsal of a GPU study on a CPU measures RAM; the check at its end knows it."""
    kinds = {"inverse_problems/supervised": Measured(ratio=1, ram=1000, work="")}
    files.write_json(tmp_path / rates.REHEARSED, Rehearsed(device=None, kinds=kinds).model_dump())
    monkeypatch.setattr(rehearsal, "rehearse", lambda study, results: rates.rehearsed(results))
    monkeypatch.setattr(machine, "ram_gb", lambda: 1000)
    (tmp_path / "config.yaml").write_text(f"study: paper\nresults: {tmp_path}\n")
    monkeypatch.delenv(machine.VARIABLE)
    assert cli.main(["--config", str(tmp_path / "config.yaml"), "rehearse"]) == 1
    assert "✗ RAM: encoders/" in capsys.readouterr().out


def test_a_card_that_is_hidden_is_no_matter(monkeypatch, tmp_path):
    small = gpus.Card("1", "GPU-2", "NVIDIA T4", 15, 0.0)
    for mask, amiss_there in ((None, 1), ("0", 0), ("1", 1), ("GPU-2", 1), ("0,1", 1)):
        lines = amiss(monkeypatch, tmp_path, "encoders/resnet100", cards=[card(80), small], mask=mask)
        assert len(lines) == amiss_there and all("NVIDIA T4 has 16 GB" in line for line in lines), mask


def test_a_folder_that_may_not_be_read_is_a_line(monkeypatch):
    def denied(recipe, thorough):
        raise PermissionError(13, "Permission denied", "/data/imagenet/train")

    monkeypatch.setattr(doctor, "data_set", denied)
    recipe = plan.recipe_of("images/imagenet100", papers.study("paper"))
    (check,) = doctor.of_files({"images/imagenet100": recipe})
    assert not check.ok and "/data/imagenet/train cannot be read (Permission denied)" in str(check)


LACKS_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("[..] can't allocate memory"),
    RuntimeError("CUDA error: out of memory"), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
]  # fmt: skip


@pytest.mark.parametrize("error", LACKS_MEMORY)
def test_a_job_without_enough_memory_ends_in_one_line_with_the_setting(error, tmp_path, monkeypatch):
    def lacking(recipe, job):
        raise error

    study = papers.study("smoke")
    product = "encoders/student-rm90"
    recipe = plan.recipe(product, study)
    monkeypatch.setattr(jobs.importlib, "import_module", lambda name: type("Module", (), {"train": lacking}))
    monkeypatch.setattr(origins, "records_behind", lambda job: {})
    said = re.escape(
        f"{product}: the machine's memory does not suffice; in the study file set distill.recompute: true or "
        "distill.targets: computed, where the numbers stay the same, or lower distill.batch, or use a larger machine"
    )
    with pytest.raises(UserError, match=f"^{said}"):
        jobs.run(product, study.paper, tmp_path, recipe)
    on_gpu = jobs.too_large(study.paper.jobs["distill"], Job(product, tmp_path, "", device="cuda"))
    assert "the GPU's memory" in on_gpu and "distill.recompute: true, where" in on_gpu and "targets" not in on_gpu
