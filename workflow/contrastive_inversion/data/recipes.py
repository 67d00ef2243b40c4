"""The recipe of a data set's images, the same for every paper. Imports no torch."""

from typing import Any, get_args

from contrastive_inversion.data.settings import CorruptedPhotographs, DataSet, GeneratedImageNetC, Images
from contrastive_inversion.data.work import store
from contrastive_inversion.ledger.paper import JobKind, Product
from contrastive_inversion.ledger.study import Study

RELEASED = 224  # px: the side of ImageNet-C's frames


def images(study: Study[Any], name: str) -> Images:
    """The recipe of a data set's store. Raises UserError for a data set that the study does not have."""
    settings = study.data_set(name)
    # published files bring their own list of classes
    borrowed = settings.classes_of and not getattr(settings, "classes", None)
    needed = [f"images/{settings.classes_of}"] if borrowed else []
    as_released = (
        isinstance(settings, GeneratedImageNetC) and settings.reference == study.settings.image_size == RELEASED
    )
    kind = CorruptedPhotographs if as_released else Images
    return kind.of(
        *needed, seed=study.settings.seed, data=name, settings=settings, image_size=study.settings.image_size
    )


def split_of(study: Study[Any], data: str, wanted: str) -> str:
    """The split that is measured on: the one wanted, where the data set has it; else the test split."""
    return wanted if getattr(study.settings.data[data], wanted) else "test"


KINDS = get_args(get_args(DataSet)[0])
SOURCES = [source for kind in KINDS for source in get_args(kind.model_fields["source"].annotation)]
PRODUCT = Product("{data}", images, "Make or read the images of a data set.")
JOBS = {
    "images": JobKind(Images, 1, "data.prepare:make", store),
    "corrupt": JobKind(CorruptedPhotographs, 1, "data.corrupted:make", store),
}
