"""The training losses: student-teacher InfoNCE and the variants of Ravula et al. (2021, Section 4.5, Appendix C).

student, teacher: float (N, D), raw embeddings of the distorted and the clean views; tau: the temperature. All
are means over the N images. With s_i, t_i the normalised rows,

    st        -s_i.t_i/tau + log sum_j exp(s_i.t_j/tau)                                   (ours)
    ss        -s_i.t_i/tau + log sum_{j != i} exp(s_i.s_j/tau)
    both      -s_i.t_i/tau + log(sum_{j != i} exp(s_i.s_j/tau) + sum_j exp(s_i.t_j/tau))
    ntxent    SimCLR's loss, the mean over the anchors s_i and t_i: half the sum of both logs (their code)
    summed_ntxent   the whole sum of both logs, as their appendix prints it
    mse       -s_i.t_i                                                                    (Eq. 1, cosine)
    raw_mse   the mean squared difference of the raw embeddings                           (their code)

The diagonal is left out only between embeddings of the same network. Sums go through logsumexp.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F


def similarities(a: torch.Tensor, b: torch.Tensor, tau: float) -> torch.Tensor:
    """Cosine similarities over the temperature: (N, D), (M, D) -> (N, M)."""
    return F.normalize(a) @ F.normalize(b).T / tau


def without_diagonal(logits: torch.Tensor) -> torch.Tensor:
    """Logits (N, N) whose diagonal takes no part in a sum of exponentials."""
    return logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), -torch.inf)


def student_teacher(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    logits = similarities(student, teacher, tau)  # (N, N)
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def student_student(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    positive = similarities(student, teacher, tau).diagonal()
    others = without_diagonal(similarities(student, student, tau))
    return (torch.logsumexp(others, dim=1) - positive).mean()


def both(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    cross = similarities(student, teacher, tau)
    own = without_diagonal(similarities(student, student, tau))
    return (torch.logsumexp(torch.cat([own, cross], dim=1), dim=1) - cross.diagonal()).mean()  # over (N, 2N)


def ntxent(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    n = len(student)
    every = torch.cat([student, teacher])  # (2N, D)
    logits = without_diagonal(similarities(every, every, tau))  # (2N, 2N)
    partner = torch.arange(2 * n, device=logits.device).roll(n)
    return F.cross_entropy(logits, partner)


def mse(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    return -F.cosine_similarity(student, teacher).mean()


def raw_mse(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    return F.mse_loss(student, teacher)


def summed_ntxent(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    """NT-Xent as that appendix prints it: both uniformity terms added, the positive pair counted once."""
    return 2 * ntxent(student, teacher, tau) + F.cosine_similarity(student, teacher).mean() / tau


Loss = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
LOSSES: dict[str, Loss] = {
    "st": student_teacher, "ss": student_student, "both": both, "ntxent": ntxent, "summed_ntxent": summed_ntxent,
    "mse": mse, "raw_mse": raw_mse,
}  # fmt: skip
