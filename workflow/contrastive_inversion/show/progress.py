"""What is running and what is finished, on one screen. Imports no torch."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from contrastive_inversion.base import job
from contrastive_inversion.base.settings import is_name


def files_of(results: Path) -> Iterator[Path]:
    """The reports of all jobs. Raises PermissionError for a folder that may not be read."""
    for study in results.iterdir() if results.exists() else []:
        for folder, folders, names in os.walk(study / "state", onerror=unreadable) if is_name(study.name) else []:
            yield from (Path(folder, name) for name in (*folders, *names) if name == "progress.json")


def unreadable(error: OSError) -> None:
    """Raise what `os.walk` would pass over, unless there is no such folder, as of a file or while it is removed."""
    if isinstance(error, PermissionError):
        raise error


def reports(results: Path) -> list[dict[str, Any]]:
    """What each job that has ever reported progress said last, most recent first, from every study."""
    listed: list[dict[str, Any]] = []
    for path in files_of(results):
        study, _, *product = path.parent.relative_to(results).parts
        try:
            said = job.Report.model_validate_json(path.read_bytes()).model_dump()
        except FileNotFoundError:
            continue  # removed while we looked
        except (ValidationError, OSError):
            said = job.Report(product="/".join(product), state="report damaged", updated=time.time()).model_dump()
        listed.append(said | {"study": study, "alive": job.is_locked(path.parent)})
    return sorted(listed, key=lambda report: -report["updated"])


def condition(report: dict[str, Any]) -> str:
    """finished, running or stopped; or that its report is damaged, which is no harm to the job."""
    if report["state"] != "running":
        return str(report["state"])
    return "running" if report["alive"] else "stopped"


def duration(seconds: float) -> str:
    """A time in seconds as people say it."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def line(report: dict[str, Any]) -> dict[str, str]:
    """A job's line of the screen."""
    now, loss = condition(report), report["loss"]
    return {
        "study": report["study"], "job": report["product"], "state": now,
        "epoch": f"{report['epoch']}/{report['epochs']}", "loss": "" if loss is None else f"{loss:.4f}",
        "images/s": f"{report['images_per_second']:g}",
        "ETA": duration(report["eta_seconds"]) if now == "running" else "",
        "last report": f"{duration(time.time() - report['updated'])} ago",
    }  # fmt: skip


def screen(results: Path, most: int | None) -> str:
    """All running and stopped jobs and the latest finished ones (None: all), as a table for the terminal."""
    listed = reports(results)
    if not listed:
        return f"No job has run yet below {results}/."
    pending = [report for report in listed if condition(report) != "finished"]
    done = [report for report in listed if condition(report) == "finished"]
    shown = done[:most]
    table = pd.DataFrame([line(report) for report in pending + shown])
    hidden = len(done) - len(shown)
    tail = f"\n... and {hidden} more finished jobs (--all shows them)" if hidden else ""
    return str(table.to_markdown(index=False, disable_numparse=True)) + tail
