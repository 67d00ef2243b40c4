"""Write the answer at the top of README.md, between its two marks, from the published numbers and the kept runs."""

import re
import textwrap
from collections import Counter
from pathlib import Path

from contrastive_inversion import papers
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
*Open*: undecided at 5 %, in one reading at least. *Depends on the reading*: a sentence was taken as numbers in several
ways, of which one holds and another fails.

**Not run:** ImageNet itself, OpenAI's CLIP, CIFAR-10, any GPU. Whether the printed numbers come out again is open until
somebody runs the study `authors` (as their code ran it; it is expected to match the print) or `paper` (as the text has
it; it need not).
"""


def of_study(study):
    """What holds of a paper by its own published numbers, and in a kept run, counted as its page does."""
    judged = shown_claims.of_study(study, KEPT)
    headline, counts = judged["groups"][shown_claims.HEADLINE]["claims"], judged["claim_counts"]
    keys = ("verdict", "published_verdict")
    here, theirs = (page.in_words(Counter(claim[key] for claim in headline)) for key in keys)
    said = (
        f"***{study.paper.title}.*** Of its {len(headline)} headline claims, by the authors' own published numbers "
        f"{theirs}; on the small pictures of `{study.name}` {here}. Of all {counts.total()} claims there: "
        f"{page.in_words(counts)}."
    )
    return textwrap.fill(said, 120) + "\n"


def written(readme):
    """README.md's text with the answer of now."""
    return ANSWER.sub(lambda marks: f"{marks[1]}{answer()}{marks[2]}", readme)


if __name__ == "__main__":
    path = REPOSITORY / "README.md"
    path.write_text(written(path.read_text()))
