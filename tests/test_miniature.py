"""The studies on photographs on small files of the published formats: real networks, real image size.

Only epochs, counts of images and batches are lowered. The files' checksums cannot be the published ones: the weights'
are given in the study, those of archives to fetch with their addresses, those of CIFAR and STL-10 are not looked at
(see OFFICIAL).
"""

import functools
import hashlib
import http.server
import json
import os
import tarfile
import threading
from pathlib import Path

import pytest
import yaml

import flow
import formats
from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.data import imagenet_classes, readers, sources
from contrastive_inversion.ledger import printed, quantities

PAPER = papers.paper("inverse_problems")
OFFICIAL = """
import sys
if any(name in sys.orig_argv for name in ("images/cifar10", "images/cifar100", "images/stl10")):
    from torchvision.datasets import cifar, stl10
    cifar.check_integrity = stl10.check_integrity = lambda path, md5=None: True
if "fetch" in sys.orig_argv:
    import json, pathlib
    from contrastive_inversion.data import sources
    served = json.loads((pathlib.Path(__file__).parent / "served.json").read_text())
    sources.WEIGHTS = {name: [f"{served['url']}/gone", address] for name, address in served["weights"].items()}
    sources.ARCHIVES = {name: sources.File(*served[name]) for name in sources.ARCHIVES}
"""
KAGGLEHUB = """
import shutil
def dataset_download(handle, output_dir):
    shutil.copytree(SOURCE, output_dir, dirs_exist_ok=True)
"""
# A printed number of every table (Table 3 is the label shift's classes), and every data set.
MEASURED = """
student-rm90 | probe 100% | imagenet100 | rm90 | top1
student-rm90 | probe 10% | imagenet100 | rm90 | top5
baseline-rm90 | own | imagenet100 | rm90 | top1
baseline100-rm90 | own | imagenet100 | rm90 | top1
student-rm90 | teacher probe 100% on clean | imagenet100 | rm90 | top1
student-rm50to95 | probe 100% | imagenet100b | rm50to95 | top1
student-rm50to95 | probe 100% | cifar10 | rm50to95 | top1
student-rm50to95 | probe 100% | cifar100 | rm50to95 | top5
student-rm50to95 | probe 100% | stl10 | rm50to95 | top1
student-rm50to95 | probe 100% | covid | rm50to95 | auc
student-rm50to95 | probe 100% | label_shift | rm97 | top1
baseline-rm50to95 | probe 100% | cifar10 | rm50to95 | top1
baseline-rm50to95 | own | imagenet100 | easier_1 | top1
baseline-rm50to95 | own | imagenet100 | rm96 | top1
resnet | probe 100% on clean | imagenet100 | nlm-gn10 | top1
resnet | probe 100% on clean | imagenet100 | dd-rm50 | top1
resnet | probe 100% on rm90 | imagenet100 | rm90 | top1
student-mix | probe 100% | imagenet100c | fog | top1
baseline-clean | own | imagenet100c | fog | top1
""".strip().splitlines()
SETS = ["imagenet100", "imagenet100b", "imagenet100c", "label_shift", "cifar10", "cifar100", "stl10", "covid"]
XRAYS = [(f"{split}{i}.jpeg", ("Normal", "Pnemonia")[i % 2], split) for split in ("TRAIN", "TEST") for i in range(4)]


def write_data(root):
    """Every data set in its published format, some hundred images in all but ImageNet-C."""
    both = [
        *formats.WNIDS,
        *imagenet_classes.wnids("imagenet100b_wnids.txt"),
        *imagenet_classes.labels_of("label_shift.csv"),
    ]
    formats.imagenet(root / "imagenet", sorted(set(both)), lambda i: (260 + i % 7, 240 + i % 5))
    formats.imagenet_c(root / "imagenet-c")
    formats.cifar(root / "cifar", images=4)
    formats.stl10(root / "stl10")
    formats.coronahack(root / "coronahack", XRAYS)
    return {key: str(root / key) for key in ("imagenet", "cifar", "stl10", "coronahack")} | {
        "imagenet_c": str(root / "imagenet-c")
    }


def write_weights(root):
    root.mkdir()
    formats.clip_archive(root / "RN101.pt")
    formats.resnet101(root / "resnet101.pth")
    return {"clip": str(root / "RN101.pt"), "resnet101": str(root / "resnet101.pth")}


def lowered(parent, weights):
    """A study that inherits from the real one and lowers epochs, counts and batches alone."""
    data = yaml.safe_load((PAPER.folder / "studies/paper.yaml").read_text())["data"]
    if parent == "authors":
        data["imagenet100c"]["resize"] = 256
    data["imagenet100"] |= {"train": 103, "test": 100}
    data["imagenet100b"] |= {"train": 100, "test": 100}
    data["imagenet100c"] |= {"test": 100}
    data["label_shift"] |= {"test": 5}
    checksums = {name: hashlib.sha256(Path(path).read_bytes()).hexdigest() for name, path in weights.items()}
    short = {"epochs": 1, "batch": 40}
    further = ("clean", "transfer") if parent == "authors" else ()
    return {
        "inherits": parent, "tables": [], "figures": [11], "also": MEASURED, "gpu": 0, "data": data,
        "fractions": [10, 100],
        "teacher": {"sha256": checksums["clip"]}, "resnet": {"sha256": checksums["resnet101"]},
        "resnet100": short, "distill": short, "finetune": short,
        "clean_baseline": short if further else {},
        "probe": dict.fromkeys(("full", "subset", *further), short),
        "evaluate": {"instantiations": 2, "batch": 50},
        "restore": {"nlm": {"images": 2, "instantiations": 1}, "deep_decoder": {"images": 2, "steps": 2}},
    }  # fmt: skip


def write_archives(root):
    """The archives of the study that needs no registration, as their publishers pack them: {source: file}."""
    for name in ("imagenette", "imagewoof"):
        tree = root / f"{name}2"
        for i, wnid in enumerate(imagenet_classes.wnids(f"{name}_wnids.txt")):
            for split, count in (("train", 6), ("val", 4)):
                for k in range(count):
                    formats.photo(tree / split / wnid / f"{wnid}_{k}.JPEG", (260 + i + k, 240 + k))
    formats.cifar(root, images=4)
    formats.stl10(root)
    packed = {}
    for source, file in sources.ARCHIVES.items():
        packed[source] = root / file.name
        with tarfile.open(packed[source], "w:gz") as archive:
            archive.add(root / readers.ARCHIVES[source], readers.ARCHIVES[source])
    return packed


def lowered_imagenette(weights):
    """The study without registration, its epochs, counts and batches lowered as the others'."""
    data = yaml.safe_load((PAPER.folder / "studies/imagenette.yaml").read_text())["data"]
    data["imagenet100"] |= {"train": 60, "test": 40}
    data["imagenet100b"] |= {"train": 60, "test": 40}
    data["imagenet100c"] |= {"images_per_class": 1}
    data["label_shift"] |= {"test": 40}
    return lowered("paper", weights) | {
        "inherits": "imagenette", "data": data, "tables": [3], "figures": [11],
        "also": [*MEASURED, "student-rm90 | probe 10% | imagenet100 | rm90 | mrr"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder with nothing but a config.yaml and a study, and a web server with all that is fetched."""
    folder, served = tmp_path_factory.mktemp("bare"), tmp_path_factory.mktemp("served")
    weights, packed = write_weights(served / "weights"), write_archives(served)
    formats.coronahack(served / "coronahack", XRAYS)
    content = {"study": "imagenette-miniature", "studies": "studies"}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    for name in ("studies", "site"):
        (folder / name).mkdir()
    (folder / "studies/imagenette-miniature.yaml").write_text(yaml.safe_dump(lowered_imagenette(weights)))
    (folder / "site/sitecustomize.py").write_text(OFFICIAL)
    (folder / "site/kagglehub.py").write_text(KAGGLEHUB.replace("SOURCE", repr(str(served / "coronahack"))))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=served)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        told = {"url": url, "weights": {n: f"{url}/weights/{Path(p).name}" for n, p in weights.items()}}
        for source, path in packed.items():
            md5 = hashlib.md5(path.read_bytes()).hexdigest()
            told[source] = [path.name, [f"{url}/gone", f"{url}/{path.name}"], "md5", md5]
        (folder / "site/served.json").write_text(json.dumps(told))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder
        server.shutdown()


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """A folder with data, weights, the lowered studies, and a config.yaml that names them."""
    folder = tmp_path_factory.mktemp("laboratory")
    weights = write_weights(folder / "weights")
    content = {"study": "paper-miniature", "studies": "studies", "data": write_data(folder), "weights": weights}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    (folder / "studies").mkdir()
    for parent in ("paper", "authors"):
        (folder / f"studies/{parent}-miniature.yaml").write_text(yaml.safe_dump(lowered(parent, weights)))
    (folder / "site").mkdir()
    (folder / "site/sitecustomize.py").write_text(OFFICIAL)
    return folder


def snakemake(folder, *arguments, parent="paper"):
    beside = os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")])
    return flow.snakemake(folder, *arguments, study=f"{parent}-miniature", PYTHONPATH=beside).check()


def test_the_study_without_registration_begins_with_nothing(bare):
    """The README's commands: data and weights are fetched to their places, and every data set is packed."""
    snakemake(bare, "download", "weights", parent="imagenette")
    assert (bare / "data/imagenette/imagenette2/val").is_dir() and (bare / "weights/RN101.pt").is_file()
    found = [f"results/imagenette-miniature/images/{name}.safetensors" for name in SETS if name != "imagenet100c"]
    snakemake(bare, *found, parent="imagenette")
    tensors, record = files.load(bare / found[0])
    assert record["classes"][:2] == ["tench", "English springer"] and len(tensors["test/labels"]) == 40
    tensors, _ = files.load(bare / "results/imagenette-miniature/images/label_shift.safetensors")
    assert set(tensors["test/labels"].tolist()) == {1}  # every dog counts as an English springer


@pytest.mark.slow
def test_the_whole_study_without_registration_runs(bare):
    snakemake(bare, "download", "weights", parent="imagenette")
    check_whole_study(bare, "imagenette")
    table = (bare / "results/imagenette-miniature/tables/table_3.csv").read_text().splitlines()
    assert len(table) == 11 and table[1] == "Shih-Tzu,n02086240,English springer,n02102040,1"


def test_a_number_of_every_table_is_measured():
    wanted = {str(quantities.parse(text)) for text in MEASURED}
    touched = {cell.table for cell in printed.cells(PAPER) if str(cell.quantity) in wanted}
    assert touched == {1, 2, *range(4, 15)}


def test_every_data_set_and_both_weights_are_read(laboratory):
    results = "results/paper-miniature"
    targets = [f"{results}/images/{name}.safetensors" for name in SETS]
    targets += [f"{results}/encoders/{name}.safetensors" for name in ("teacher", "resnet")]
    snakemake(laboratory, *targets)
    for name in ("imagenet100", "imagenet100b"):
        tensors, record = files.load(laboratory / f"{results}/images/{name}.safetensors")
        assert len(record["classes"]) == tensors["train/labels"].max() + 1 == 100


@pytest.mark.slow
@pytest.mark.parametrize("parent", ["paper", "authors"])
def test_the_whole_study_runs(laboratory, parent):
    check_whole_study(laboratory, parent)


def check_whole_study(folder, parent):
    snakemake(folder, parent=parent)
    found = list((folder / f"results/{parent}-miniature/measurements").rglob("*.json"))
    rows = [row for path in found for row in files.read_json(path)["rows"]]
    assert len(rows) >= len(MEASURED)
    assert (folder / f"figures/{parent}-miniature/figure_11.png").stat().st_size > 10_000
    assert (folder / f"results/{parent}-miniature/report.html").exists()
