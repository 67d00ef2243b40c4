"""What a rehearsal of the report's studies measures: every kind of job, at its real shape, on few images. No torch."""

from typing import Any

from contrastive_inversion.ledger.study import Study

ASKED = [
    "contrastive-lambda0.1 | probe 100% on clean | cifar10 | pgd | median",
    "supervised-lambda0.1 | own | cifar10 | plb | median",
    "finetuned | own | cifar10 | clean | top1",
]
CLASSES = 10
EPOCHS = 4  # times as many: its networks are small, and so are their checkpoints


def changes(study: Study[Any], images: int, epochs: int, batch: int | None) -> dict[str, Any]:
    """What to lay over a study's settings: so many images and epochs, and another batch where one is named.

    Characters of CIFAR-10's size stand in for its pictures: they are stored and read alike.
    """
    epochs *= EPOCHS
    short = {"epochs": epochs} | ({"batch": batch} if batch else {})
    each = max(2, images // CLASSES)
    data = {"source": "glyphs", "classes": [200, 210], "train": each, "test": each, "drawn": 20, "stored": 32}
    return {
        "tables": [], "figures": [], "also": ASKED, "data": {"cifar10": data}, "training_seeds": [study.settings.seed],
        "contrastive": short, "supervised": short, "finetuned": short, "probe": {"epochs": epochs},
        "attacks": {"images": max(2, images // 10)},
    }  # fmt: skip
