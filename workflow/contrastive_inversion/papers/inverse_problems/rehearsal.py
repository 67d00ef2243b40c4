"""What a rehearsal of the paper's studies measures: every kind of job, at its real shape, on few images. No torch."""

from typing import Any

from contrastive_inversion.ledger.study import Study

ASKED = [  # of two levels, since a measurement's first one also loads a GPU's kernels
    "student-gn30 | probe 100% | imagenet100 | gn30 | top1",
    "student-gn30 | probe 100% | imagenet100 | gn10 | top1",
    "baseline100-gn30 | own | imagenet100 | gn30 | top1",
    "baseline100-gn30 | own | imagenet100 | gn10 | top1",
    "resnet | probe 100% on clean | imagenet100 | nlm-gn10 | top1",
    "resnet | probe 100% on clean | imagenet100 | dd-rm50 | top1",
]
LIKE_IMAGENET = ("imagenet", "imagenette", "imagewoof")  # photographs, of which a few do
TESTED = 1024  # images at most
RESTORED, DECODER_STEPS = 4, 5  # images, and steps of a Deep Decoder for each epoch
BLOCK_STEPS = 20  # of a whole block, which a GPU fits at once


def changes(study: Study[Any], images: int, epochs: int, batch: int | None) -> dict[str, Any]:
    """What to lay over a study's settings: so many images and epochs, and another batch where one is named."""
    short = {"epochs": epochs} | ({"batch": batch} if batch else {})
    data = {
        name: said | ({"train": images, "test": min(images, TESTED)} if said["source"] in LIKE_IMAGENET else {})
        for name, said in study.said["data"].items()
    }
    trained = {key: short for key in ("teacher", "resnet") if study.said[key]["weights"] == "trained"}
    fits = {key: {"epochs": epochs} for key in ("full", "subset", "transfer", "clean") if study.said["probe"].get(key)}
    return trained | {
        "tables": [], "figures": [11], "also": ASKED, "data": data, "probe": fits,
        **dict.fromkeys(("resnet100", "distill", "finetune"), short),
        "evaluate": {"instantiations": 2, "batch": batch} if batch else {},
        "restore": {
            "nlm": {"images": RESTORED, "blocks": 1, "instantiations": 1},
            "deep_decoder": decoded(study, images, epochs, batch),
        },
    }  # fmt: skip


def decoded(study: Study[Any], images: int, epochs: int, batch: int | None) -> dict[str, Any]:
    """What to lay over a Deep Decoder's settings: at its real shape a block's images, else a few."""
    if batch:
        return {"images": RESTORED, "blocks": 1, "steps": DECODER_STEPS * epochs}
    said = study.settings.restore.deep_decoder
    return {"images": max(2, (said.images or images) // said.blocks), "blocks": 1, "steps": BLOCK_STEPS}
