"""Write the answer at the top of README.md, between its two marks, from the published numbers and the kept runs."""

import re
import textwrap
from collections import Counter
from pathlib import Path

from contrastive_inversion import papers
from contrastive_inversion.ledger import claims
from contrastive_inversion.show import page, shown_claims

REPOSITORY = Path(__file__).resolve().parent.parent
KEPT = REPOSITORY / "results" / "reference"
ANSWER = re.compile(r"(<!-- answer -->\n).*?(<!-- /answer -->)", re.S)


def answer():
    """A paragraph for every kept run but those that others take their spreads from, and what has not been run."""
    kept = [papers.study(folder.name) for folder in sorted(KEPT.iterdir())]
    parts = [of_study(study) for study in kept if study.name not in {other.settings.spreads for other in kept}]
    return "\n".join([*parts, NOT_RUN])


NOT_RUN = """\
*Open*: undecided at 5 %. *Depends on the reading*: a sentence was taken as numbers in several ways, which disagree.

**Not run:** ImageNet itself, OpenAI's CLIP, CIFAR-10, any GPU. Whether the printed numbers come out again is open until
somebody runs the study `authors` (as their code ran it; it is expected to match the print) or `paper` (as the text has
it; it need not).
"""


def of_study(study):
    """What holds of a paper by its own published numbers, and in a kept run."""
    judged = claims.of_study(study, KEPT)
    everything = [each.claim for each in judged if not each.claim.truism]
    headline = [each.claim for each in judged if each.claim.headline] or everything
    here = {each.claim.id: each.verdict for each in judged}
    theirs = {claim.id: shown_claims.published_verdict(claim.id, study).verdict for claim in everything}

    def count(verdicts, some):
        return page.in_words(Counter(verdicts[claim.id] for claim in some))

    said = (
        f"***{study.paper.title}.*** Of its {len(headline)} headline claims, by the authors' own published numbers "
        f"{count(theirs, headline)}; on the small pictures of `{study.name}` {count(here, headline)}. Of all "
        f"{len(everything)} claims there: {count(here, everything)}."
    )
    return textwrap.fill(said, 120) + "\n"


def written(readme):
    """README.md's text with the answer of now."""
    return ANSWER.sub(lambda marks: f"{marks[1]}{answer()}{marks[2]}", readme)


if __name__ == "__main__":
    path = REPOSITORY / "README.md"
    path.write_text(written(path.read_text()))
