"""How long some jobs take on so many GPUs and cores and so much RAM: list scheduling, longest path first."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A job as a scheduler sees it: its seconds, the jobs it waits for, its priority, and what it holds."""

    seconds: float
    inputs: list[str]
    priority: float
    gpus: int = 0
    ram_gb: float = 0.0


@dataclass(frozen=True)
class Timetable:
    """When each job starts, the seconds until all are done, and the share of them that the GPUs were held."""

    starts: dict[str, float]
    makespan: float
    gpus_busy: float


def timetable(tasks: Mapping[str, Task], gpus: int, cores: int, ram_gb: float = float("inf")) -> Timetable:
    """Start what is ready and fits, by priority, whenever a job ends; every job holds one core.

    A job that wants more than there is at all has everything, as Snakemake does it.
    """
    free = {"gpus": float(gpus), "cores": float(cores), "ram": ram_gb}
    starts: dict[str, float] = {}
    waiting, done, running, now = set(tasks), set[str](), list[tuple[float, str]](), 0.0
    while waiting or running:
        ready = [name for name in waiting if done.issuperset(tasks[name].inputs)]
        for name in sorted(ready, key=lambda name: (-tasks[name].priority, name)):
            wanted = held(tasks[name], gpus, ram_gb)
            if all(free[key] >= wanted[key] for key in free):
                free = {key: free[key] - wanted[key] for key in free}
                waiting.remove(name)
                starts[name] = now
                heapq.heappush(running, (now + tasks[name].seconds, name))
        now, name = heapq.heappop(running)
        done.add(name)
        free = {key: free[key] + each for key, each in held(tasks[name], gpus, ram_gb).items()}
    busy = sum(task.seconds * min(task.gpus, gpus) for task in tasks.values())
    return Timetable(starts, now, busy / (now * gpus) if gpus and now else 0.0)


def held(task: Task, gpus: int, ram_gb: float) -> dict[str, float]:
    """What a job holds while it runs."""
    return {"gpus": min(task.gpus, gpus), "cores": 1, "ram": min(task.ram_gb, ram_gb)}
