"""How long some jobs take on so many GPUs and cores: list scheduling, longest path first."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A job as a scheduler sees it: its seconds, the jobs it waits for, its priority, and how many GPUs it holds."""

    seconds: float
    inputs: list[str]
    priority: float
    gpus: int = 0


def makespan(tasks: Mapping[str, Task], gpus: int, cores: int) -> float:
    """The seconds until all jobs are done, where whatever is ready and fits is started, by priority, when one ends.

    Every job holds one core. Raises ValueError for one that needs more GPUs than there are.
    """
    for name, task in tasks.items():
        if task.gpus > gpus:
            raise ValueError(f"{name} needs more GPUs ({task.gpus}) than there are ({gpus})")
    waiting, done, running, now = set(tasks), set[str](), list[tuple[float, str]](), 0.0
    while waiting or running:
        ready = [name for name in waiting if done.issuperset(tasks[name].inputs)]
        for name in sorted(ready, key=lambda name: (-tasks[name].priority, name)):
            if cores and tasks[name].gpus <= gpus:
                gpus, cores = gpus - tasks[name].gpus, cores - 1
                waiting.remove(name)
                heapq.heappush(running, (now + tasks[name].seconds, name))
        now, name = heapq.heappop(running)
        done.add(name)
        gpus, cores = gpus + tasks[name].gpus, cores + 1
    return now
