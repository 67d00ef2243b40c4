"""Does an attack fail because a model resists, or because the attack is weak? A sentence on each model. No torch.

The rule stands in docs/PROTOCOL.md, under the robustness report.
"""

from collections.abc import Callable
from dataclasses import replace

from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.papers.contrastive_robustness.names import STRONGEST
from contrastive_inversion.papers.contrastive_robustness.raw import error_of_share
from contrastive_inversion.papers.contrastive_robustness.settings import Attacks, ContrastiveRobustness, Pgd

OurStudy = Study[ContrastiveRobustness]
Value = Callable[[Quantity], Estimate | None]


def lines(study: OurStudy, value: Value) -> list[str]:
    """A sentence on each model that the study attacks by PGD; none of published numbers, which have no checks."""
    metric = f"all@{study.settings.attacks.pgd.epsilon:g}"
    attacked = [q for q in plan.asked(study) if (q.distortion, q.metric) == ("pgd", metric)]
    return [line(quantity, study.settings.attacks, value) for quantity in attacked] if study.settings.measured else []


def line(quantity: Quantity, settings: Attacks, value: Value) -> str:
    """What PGD, all attacks together and those by transfer find on a model, and what that says of its gradients."""
    own, transferred = by_gradients(settings)
    found = {name: value(replace(quantity, distortion=name)) for name in ("pgd", STRONGEST, *own, *transferred)}
    known = {name: estimate for name, estimate in found.items() if estimate}
    model = quantity.encoder if quantity.head == "own" else f"{quantity.encoder}, {quantity.head}"
    lacking = [name for name in ("pgd", STRONGEST, *transferred) if name not in known]
    if lacking or not transferred:
        return (
            f"{model}: not measured: {', '.join(lacking) or 'an attack by transfer'}; nothing is said of its gradients"
        )
    pgd, strongest = known["pgd"].mean, known[STRONGEST].mean
    transfer, white_box = (max(known[name].mean for name in group if name in known) for group in (transferred, own))
    error = 100 * error_of_share(strongest / 100, known[STRONGEST].images or known[STRONGEST].n)
    name = f"PGD-{settings.pgd.steps}"
    return (
        f"{model}: {name} {pgd:.1f} %, strongest of all attacks {strongest:.1f} %, by transfer {transfer:.1f} %: "
        + said(name, strongest - pgd, transfer - white_box, error)
    )


def by_gradients(settings: Attacks) -> tuple[list[str], list[str]]:
    """The names of a study's attacks in L2 that use a model's own gradients, and of those that use another one's."""
    checks = [name for name in settings.checks if settings.in_l2(name)]
    transferred = [name for name in checks if isinstance(each := settings.named(name), Pgd) and each.transferred]
    return ["pgd", "plb", *(name for name in checks if name not in transferred)], transferred


def said(name: str, beyond: float, transferred: float, error: float) -> str:
    """The verdict in words: by how many points all attacks find more than PGD, and transfer more than own gradients."""
    signs = []
    if transferred > error:
        signs.append("sign of masked gradients")
    if beyond > error:
        signs.append(f"{name} is too weak here by {beyond:.1f} points")
    return "; ".join(signs) or "no sign of masked gradients"
