"""Table 3, which is no grid of quantities. Imports no torch."""

from typing import TYPE_CHECKING

from contrastive_inversion.data import imagenet_classes
from contrastive_inversion.data.settings import ImageNet, Imagenette
from contrastive_inversion.papers.inverse_problems.recipes import OurStudy

if TYPE_CHECKING:
    import pandas as pd


def label_shift(study: OurStudy) -> "pd.DataFrame":
    """Table 3: the classes outside of ImageNet-100, their new labels, and the labels' places in the class list."""
    import pandas as pd  # what renders takes its half a second, jobs need not

    settings = study.settings.data["label_shift"]
    if settings.source == "glyphs":
        from contrastive_inversion.data import characters

        pool = characters.classes()
        pairs = (settings.pairs or {}).items()
        lines = [(c, f"U+{ord(c):04X}", to, f"U+{ord(to):04X}", pool.index(to)) for c, to in pairs]
        return pd.DataFrame(lines, columns=["Character", "Code point", "New label", "Its code point", "Index"])
    assert isinstance(settings, ImageNet | Imagenette)
    heads = ["ImageNet class", "wnid", "New label", "Its wnid", "Index"]
    shifted = [(s.name, s.wnid, s.label, s.label_wnid, s.index) for s in imagenet_classes.label_shift(settings.classes)]
    return pd.DataFrame(shifted, columns=heads)
