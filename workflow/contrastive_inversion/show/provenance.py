"""Where a page's numbers come from: what was run, on what, for how long, from which data and weights. No torch."""

from collections import Counter
from pathlib import Path
from typing import Any

from contrastive_inversion.base import files
from contrastive_inversion.base.job import file_of
from contrastive_inversion.base.records import Origin
from contrastive_inversion.ledger import accepted, plan
from contrastive_inversion.ledger.accepted import Accepted
from contrastive_inversion.ledger.measurements import Measurements, Record
from contrastive_inversion.ledger.study import Study

LOCK = Path(__file__).parents[3] / "requirements.lock"


def shown(study: Study[Any], measured: Measurements) -> dict[str, Any]:
    """What the page says of it, read from the products' own records."""
    encoders, data = (records_of(folder, study, measured.root) for folder in ("encoders", "images"))
    said = study.said["data"]
    there = [product for product in plan.measurements(study) if product not in measured.absent]
    records = [*encoders, *data, *(measured.content(product)[1] for product in there)]
    return {
        "jobs": Counter(record["product"].split("/")[0] for record in records),
        "seconds": sum(record["seconds"] for record in records),
        "dates": sorted({record["started"][:10] for record in records if record.get("started")}),
        "devices": sorted({record["device"] for record in records}),
        "code": sorted({record["code"] for record in records}),
        "torch": sorted({record["torch"] for record in records if record["torch"]}),
        "lock": lock_hash()[:16],
        "data": [(r["product"], said[r["product"].split("/")[1]], r["content_hash"][:16]) for r in data],
        "encoders": [encoder_of(record, study) for record in encoders],
        "accepted": kept(measured.root),
        "unknown": sum("made_by" not in record for record in records),
    }


def kept(root: Path) -> list[dict[str, Any]]:
    """What was kept through changes of code, once for each date and reason."""
    merged: dict[tuple[str, str], list[Accepted]] = {}
    for each in accepted.read(root):
        merged.setdefault((each.when, each.because), []).append(each)
    return [
        {
            "when": when, "because": because,
            "products": sorted({product for each in alike for product in each.products}),
            "changes": sorted({change for each in alike for change in each.changes}),
        }
        for (when, because), alike in merged.items()
    ]  # fmt: skip


def lock_hash() -> str:
    """The sha256 of the lock file of the versions that everything is installed from; `none` without one."""
    return files.sha256(LOCK) if LOCK.exists() else "none"


def records_of(folder: str, study: Study[Any], root: Path) -> list[Record]:
    """The records of the products in a folder of a study's results that are there, by name."""
    wanted = plan.everything(study)
    paths = {root / file_of(product): product for product in wanted if product.startswith(f"{folder}/")}
    return [own_record(path, paths[path]) for path in sorted(paths) if path.exists()]


def own_record(path: Path, product: str) -> Record:
    """The record of a product's file. Raises UserError where it is missing, damaged or another product's."""
    record = files.record_in(path, Origin)
    if record["product"] != product:
        raise files.damaged(path, f"its record is that of {repr(record['product'])}")
    return record


def encoder_of(record: Record, study: Study[Any]) -> dict[str, Any]:
    """An encoder's training in one line: what it saw, its last loss, its weights' hash."""
    name = record["product"].removeprefix("encoders/")
    distortion = study.paper.trained_under(name)
    return {
        "name": name, "under": study.paper.level_label(distortion, study) if distortion else "clean images",
        "epochs": record["recipe"].get("settings", {}).get("epochs"),
        "loss": f"{record['losses'][-1]:.4f}" if record.get("losses") else "",
        "seconds": record["seconds"], "hash": record["content_hash"][:16],
    }  # fmt: skip
