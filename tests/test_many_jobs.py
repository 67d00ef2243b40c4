"""The graph whose planning is timed is as large as its table says."""

import importlib
from collections import Counter
from pathlib import Path

from contrastive_inversion import papers
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import ready

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def test_each_study_trains_two_networks_under_twenty_distortions_from_five_seeds(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    targets = importlib.import_module("many_jobs").write_studies(tmp_path, teachers=2)
    assert targets == ["results/teacher0/report.html", "results/teacher1/report.html"]
    monkeypatch.setenv(papers.OWN_STUDIES, str(tmp_path))
    teachers = set()
    for study in map(ready.study, ("teacher0", "teacher1")):
        recipes = plan.everything(study)
        teachers.add(plan.recipe("encoders/teacher", study))
        trained = Counter(name.split("/")[1].split("-")[0] for name in recipes if name.startswith("encoders/"))
        assert trained == {"teacher": 1, "resnet": 1, "student": 100, "baseline": 100}
    assert len(teachers) == 2
