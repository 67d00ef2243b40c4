"""How long some jobs take on so many GPUs and cores: list scheduling, longest path first."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A job as a scheduler sees it: its seconds, the jobs it waits for, its priority, and the GPUs that it holds."""

    seconds: float
    inputs: list[str]
    priority: float
    gpus: int = 0


@dataclass(frozen=True)
class Timetable:
    """When each job starts, and the seconds until all are done."""

    starts: dict[str, float]
    makespan: float


def timetable(tasks: Mapping[str, Task], gpus: int, cores: int) -> Timetable:
    """Start what is ready and fits, by priority, whenever a job ends; every job holds one core.

    A job that wants more than there is at all has everything, as Snakemake does it.
    """
    free = {"gpus": gpus, "cores": cores}
    starts: dict[str, float] = {}
    waiting, done, running, now = set(tasks), set[str](), list[tuple[float, str]](), 0.0
    while waiting or running:
        ready = [name for name in waiting if done.issuperset(tasks[name].inputs)]
        for name in sorted(ready, key=lambda name: (-tasks[name].priority, name)):
            wanted = held(tasks[name], gpus)
            if all(free[key] >= wanted[key] for key in free):
                free = {key: free[key] - wanted[key] for key in free}
                waiting.remove(name)
                starts[name] = now
                heapq.heappush(running, (now + tasks[name].seconds, name))
        now, name = heapq.heappop(running)
        done.add(name)
        free = {key: free[key] + each for key, each in held(tasks[name], gpus).items()}
    return Timetable(starts, now)


def held(task: Task, gpus: int) -> dict[str, int]:
    """What a job holds while it runs."""
    return {"gpus": min(task.gpus, gpus), "cores": 1}
