"""Making a data set's image store: rendered, generated, read from official archives, or packed from image files."""

from typing import Any

from contrastive_inversion.base import machine
from contrastive_inversion.base.job import Job
from contrastive_inversion.data import embedded, generated, packing, readers
from contrastive_inversion.data.settings import Archive, Characters, Digits, GeneratedImageNetC, Images, Photographs


def make(recipe: Images, job: Job) -> tuple[Any, dict[str, Any]]:
    """The content of a data set's store, tensors or a `packing.Packed`, and facts.

    Raises UserError for anything amiss with its source.
    """
    match recipe.settings:
        case GeneratedImageNetC():
            return generated.make(recipe, job)
        case Characters() as settings:
            return embedded.character_sets(settings, recipe.seed)
        case Digits() as settings:
            return embedded.digits(settings)
        case Photographs() as settings:
            return embedded.photographs(settings, recipe.seed)
        case Archive(source=source):
            return readers.archive(source), {}
        case settings:
            return from_files(settings, job), {"classes": readers.class_names(settings)}


def from_files(settings: readers.InFiles, job: Job) -> Any:
    """The store of a data set in image files: their pixels, or their names where they are decoded on the fly."""
    splits = readers.entries(settings)
    if readers.decoded_on_the_fly(settings):
        readers.check_random_access(splits)
        return packing.listing(splits, machine.folder(readers.KEYS[settings.source]))
    return packing.pack(splits, job.path, job.state)
