"""What is running and what is finished, on one screen. Imports no torch."""

import json
import time
from pathlib import Path

import pandas as pd

from contrastive_inversion.base import job


def jobs(results="results"):
    """A dict per job that has ever reported progress, most recent first, from every study."""
    found = []
    for path in Path(results).glob("*/state/**/progress.json"):
        try:
            report = json.loads(path.read_text())
        except (OSError, json.JSONDecodeError):
            continue  # removed while we looked
        found.append(report | {"study": path.relative_to(results).parts[0], "alive": job.is_locked(path.parent)})
    return sorted(found, key=lambda report: -report["updated"])


def condition(report):
    if report["state"] == "finished":
        return "finished"
    return "running" if report["alive"] else "stopped"


def duration(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def line(report):
    now = condition(report)
    loss = report["loss"]
    return {
        "study": report["study"], "job": report["product"], "state": now,
        "epoch": f"{report['epoch']}/{report['epochs']}", "loss": "" if loss is None else f"{loss:.4f}",
        "images/s": f"{report['images_per_second']:g}",
        "ETA": duration(report["eta_seconds"]) if now == "running" else "",
        "last report": f"{duration(time.time() - report['updated'])} ago",
    }  # fmt: skip


def screen(results="results", finished=10):
    """All running and stopped jobs and the latest finished ones, as a table for the terminal."""
    everything = jobs(results)
    if not everything:
        return f"No job has run yet below {results}/."
    pending = [report for report in everything if condition(report) != "finished"]
    done = [report for report in everything if condition(report) == "finished"]
    table = pd.DataFrame([line(report) for report in pending + done[:finished]])
    hidden = len(done) - min(finished, len(done))
    tail = f"\n... and {hidden} more finished jobs (--all shows them)" if hidden else ""
    return table.to_markdown(index=False, disable_numparse=True) + tail
