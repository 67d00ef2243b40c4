"""Making a data set's image store: rendered, generated, read from official archives, or packed from image files."""

from contrastive_inversion import embedded, imagenet_c, packing, places, recipes, sources

EMBEDDED = {"glyphs": embedded.characters, "digits": embedded.digits, "photographs": embedded.photographs}


def make(recipe, job, load):
    """The content of a data set's store, and facts. Raises UserError for anything amiss with its source."""
    source = recipe["settings"]["source"]
    if source == "generated-imagenet-c":
        return imagenet_c.make(recipe, load)
    if source in EMBEDDED:
        return EMBEDDED[source](recipe)
    if source in sources.ARCHIVES:
        return archive(source), {}
    found, facts = sources.entries(recipe), {"classes": sources.class_names(recipe["settings"])}
    if sources.decoded_on_the_fly(recipe["settings"]):
        return packing.listed(found, places.folder(sources.key_of(source))), facts
    return packing.pack(found, job.root / recipes.file_of(job.product), job.state), facts


def archive(source):
    """The tensors of a small official data set."""
    splits = sources.official(source, sources.key_of(source))
    return {
        f"{split}/{part}": t
        for split, pair in splits.items()
        for part, t in zip(("images", "labels"), pair, strict=True)
    }
