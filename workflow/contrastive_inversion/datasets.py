"""Making a data set's image store: rendered, generated, read from official archives, or packed from image files."""

from contrastive_inversion import embedded, imagenet_c, packing, recipes, sources
from contrastive_inversion.errors import UserError

EMBEDDED = {"glyphs": embedded.characters, "digits": embedded.digits, "photographs": embedded.photographs}
ARCHIVES = {"cifar10": "cifar", "cifar100": "cifar", "stl10": "stl10"}


def make(recipe, job, load):
    """The content of a data set's store, and facts. Raises UserError for anything amiss with its source."""
    source = recipe["settings"]["source"]
    if source == "generated-imagenet-c":
        return imagenet_c.make(recipe, load)
    if source == "imagenet-c":
        raise UserError(f"data.{recipe['data']}: the released ImageNet-C cannot be read yet; leave Table 14 out")
    if source in EMBEDDED:
        return EMBEDDED[source](recipe)
    if source in ARCHIVES:
        return archive(source), {}
    target = job.root / recipes.file_of(job.product)
    return packing.pack(sources.entries(recipe), target, job.state), {}


def archive(source):
    """The tensors of a small official data set."""
    splits = sources.official(source, ARCHIVES[source])
    return {
        f"{split}/{part}": t
        for split, pair in splits.items()
        for part, t in zip(("images", "labels"), pair, strict=True)
    }
