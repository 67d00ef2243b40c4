"""What the published weights say of the photographs that foolbox ships; only where their files are at hand."""

from pathlib import Path

import open_clip
import pytest
import torch
from timm.data import ImageNetInfo
from torch.nn.functional import normalize

from contrastive_inversion import papers
from contrastive_inversion.learn import published_weights
from test_photographs import PHOTOGRAPHS, pixels
from test_weights import NETWORKS, read

SETTINGS = papers.study("paper").settings
FOLDER = Path(__file__).resolve().parents[1] / "weights"  # where `snakemake weights` puts them
RESNET, CLIP = FOLDER / "resnet101-63fe2227.pth", FOLDER / "RN101.pt"
LABELS = torch.tensor([int(path.stem.rsplit("_", 1)[1]) for path in PHOTOGRAPHS])


def at_hand(path):
    return pytest.mark.skipif(not path.exists(), reason=f"weights/{path.name} is not at hand: snakemake weights")


def known(answers):
    """How many of the twenty are called by their label."""
    return int((answers == LABELS).sum())


@at_hand(RESNET)
@torch.no_grad()
def test_resnet_101_knows_the_photographs():
    features = read("resnet101", NETWORKS.baseline, RESNET, SETTINGS.resnet.sha256)(pixels())  # (20, 2048)
    head = published_weights.tensors_of(RESNET)
    assert known((features @ head["fc.weight"].T + head["fc.bias"]).argmax(1)) >= 18


@at_hand(CLIP)
@torch.no_grad()
def test_clip_knows_the_photographs_by_the_names_of_their_classes():
    """Its image tower as this project reads it, its text tower as open_clip does."""
    image = normalize(read("clip", NETWORKS.student, CLIP, SETTINGS.teacher.sha256)(pixels()), dim=-1)  # (20, 512)
    whole = open_clip.create_model("RN101-quickgelu").eval()
    state = published_weights.tensors_of(CLIP)
    whole.load_state_dict({name: state[name].float() for name in whole.state_dict()})
    info = ImageNetInfo()
    names = [info.index_to_description(label).split(",")[0] for label in LABELS.tolist()]
    text = normalize(whole.encode_text(open_clip.tokenize([f"a photo of a {name}." for name in names])), dim=-1)
    assert known(LABELS[(image @ text.T).argmax(1)]) >= 16
