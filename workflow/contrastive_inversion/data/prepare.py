"""Making a data set's image store: rendered, generated, read from official archives, or packed from image files."""

from contrastive_inversion.base import machine
from contrastive_inversion.data import embedded, packing, readers
from contrastive_inversion.distort import imagenet_c
from contrastive_inversion.ledger import plan

EMBEDDED = {"glyphs": embedded.character_sets, "digits": embedded.digits, "photographs": embedded.photographs}


def make(recipe, job, load):
    """The content of a data set's store, and facts. Raises UserError for anything amiss with its source."""
    source = recipe["settings"]["source"]
    if source == "generated-imagenet-c":
        return imagenet_c.make(recipe, load)
    if source in EMBEDDED:
        return EMBEDDED[source](recipe)
    if source in readers.ARCHIVES:
        return archive(source), {}
    found, facts = readers.entries(recipe), {"classes": readers.class_names(recipe["settings"])}
    if readers.decoded_on_the_fly(recipe["settings"]):
        return packing.listed(found, machine.folder(readers.key_of(source))), facts
    return packing.pack(found, job.root / plan.file_of(job.product), job.state), facts


def archive(source):
    """The tensors of a small official data set."""
    splits = readers.official(source, readers.key_of(source))
    return {
        f"{split}/{part}": t
        for split, pair in splits.items()
        for part, t in zip(("images", "labels"), pair, strict=True)
    }
