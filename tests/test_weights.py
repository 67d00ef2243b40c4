"""Published weights at their real architecture and size, with random values; and every file that must be refused."""

import hashlib
import os
import pickle
from pathlib import Path

import pytest
import torch

import formats
from contrastive_inversion import papers
from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job
from contrastive_inversion.learn import networks, published_weights
from contrastive_inversion.learn.settings import Weights

NETWORKS = papers.study("paper").settings.networks
JOB = Job("encoders/x", Path(), "")


def constants(network):
    """The means and standard deviations of a network's input: (3, 1, 1) each."""
    return (torch.tensor(values).view(3, 1, 1) for values in (network.mean, network.std))


def read(name, network, path, sha256=None):
    """The encoder that the file of published weights gives."""
    machine.export(machine.Config(weights={name: str(path)}))
    settings = {"weights": name, "sha256": sha256 or hashlib.sha256(path.read_bytes()).hexdigest()}
    recipe = Weights(seed=1, inputs={}, network=network, settings=settings)
    tensors, facts = published_weights.read(recipe, JOB)
    assert facts == {}
    encoder = networks.build(network)
    encoder.load_state_dict({key.removeprefix("encoder."): t for key, t in tensors.items()})
    return encoder.eval()


def test_clip_s_archive_gives_open_clip_s_embeddings(tmp_path):
    model = formats.clip_archive(tmp_path / "RN101.pt")
    images = torch.rand(2, 3, 224, 224)
    encoder = read("clip", NETWORKS.student, tmp_path / "RN101.pt")
    mean, std = constants(NETWORKS.student)
    with torch.no_grad():
        expected, found = model.encode_image((images - mean) / std), encoder(images)
    assert encoder.dim == 512 and torch.allclose(found, expected, atol=1e-5)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet101.pth"
    return formats.resnet101(path), path


def test_resnet_s_state_gives_torchvision_s_features(resnet):
    model, path = resnet
    encoder = read("resnet101", NETWORKS.baseline, path)
    images = torch.rand(1, 3, 224, 224)
    mean, std = constants(NETWORKS.baseline)
    with torch.no_grad():
        expected = model((images - mean) / std)
        found = torch.nn.functional.linear(encoder(images), model.fc.weight, model.fc.bias)
    assert encoder.dim == 2048 and (found - expected).abs().max() < 1e-5 * expected.abs().max()


class Malicious:
    """Pickled code: whoever unpickles this makes the file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def test_files_that_must_be_refused(resnet, tmp_path):
    _, good = resnet
    page, code, short, other, mixed = (tmp_path / f"{name}.pth" for name in ("page", "code", "short", "other", "mixed"))
    page.write_text("<html>404</html>")
    code.write_bytes(pickle.dumps(Malicious(tmp_path / "it-ran")))
    short.write_bytes(good.read_bytes()[:100_000])
    torch.save({"conv1.weight": torch.ones(1)}, other)
    for path in (page, code, short):
        with pytest.raises(UserError, match=f"{path.name}: no file of weights that is safe to read"):
            read("resnet101", NETWORKS.baseline, path)
    assert not (tmp_path / "it-ran").exists()
    torch.save({"conv1.weight": torch.ones(1), "more": "than tensors"}, mixed)
    with pytest.raises(UserError, match="mixed.pth: holds something else than named tensors"):
        read("resnet101", NETWORKS.baseline, mixed)
    with pytest.raises(UserError, match="other.pth: not the weights of resnet101"):
        read("resnet101", NETWORKS.baseline, other)
    with pytest.raises(UserError, match="expected 63fe2227...; it is another file, or was not fetched whole"):
        read("resnet101", NETWORKS.baseline, good, sha256="63fe2227")


def test_the_wrong_activation_is_an_error(resnet):
    with pytest.raises(UserError, match="OpenAI's weights need ViT-B-32-quickgelu"):
        read("clip", NETWORKS.student.but(model="ViT-B-32"), resnet[1])


@pytest.mark.slow
def test_a_residual_tower_is_the_same_under_either_name(tmp_path):
    """Only the text tower of RN101, which is not taken, has the other activation."""
    formats.clip_archive(tmp_path / "RN101.pt")
    named, plain = (
        read("clip", NETWORKS.student.but(model=model), tmp_path / "RN101.pt") for model in ("RN101-quickgelu", "RN101")
    )
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(named(images), plain(images))


def test_missing_files_name_the_key(tmp_path):
    machine.export(machine.Config())
    with pytest.raises(
        UserError, match="weights.clip: there is no file weights/RN101.pt; expected the path of OpenAI's"
    ):
        machine.weights_file("clip")
    machine.export(machine.Config(weights={"clip": str(tmp_path / "none.pt")}))
    with pytest.raises(UserError, match="weights.clip: there is no file"):
        machine.weights_file("clip")
