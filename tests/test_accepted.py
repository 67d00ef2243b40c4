"""What a user accepts is written beside the products, and covers no other change of no other product."""

import datetime
import threading

import pytest

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import accepted
from contrastive_inversion.ledger.accepted import Accepted

CHANGE = Accepted(
    products=["encoders/a", "encoders/b"], before="old", now="new", changes=["learn/loop.py: learning_rate"],
    because="a comment", when="2026-01-02",
)  # fmt: skip


@pytest.mark.parametrize(
    ("product", "before", "now", "covered"),
    [
        ("encoders/b", "old", "new", True), ("encoders/c", "old", "new", False), ("encoders/a", "older", "new", False),
        ("encoders/a", "old", "newer", False), ("encoders/c", "x", "y", False),
    ],
)  # fmt: skip
def test_one_change_of_some_products_is_covered(product, before, now, covered):
    assert CHANGE.covers(product, before, now) == covered


def test_what_is_accepted_is_kept_in_order(tmp_path):
    assert accepted.read(tmp_path) == []
    other = CHANGE.model_copy(update={"because": "again"})
    accepted.add(tmp_path, [CHANGE])
    accepted.add(tmp_path, [other])
    assert accepted.read(tmp_path) == [CHANGE, other]


def test_of_two_who_accept_at_once_neither_is_lost(tmp_path, monkeypatch):
    other = CHANGE.model_copy(update={"because": "meanwhile"})
    second, read = threading.Thread(target=accepted.add, args=(tmp_path, [other])), accepted.read

    def read_slowly(root):
        found = read(root)
        if second.ident is None:
            second.start()
            second.join(0.5)
        return found

    monkeypatch.setattr(accepted, "read", read_slowly)
    accepted.add(tmp_path, [CHANGE])
    second.join()
    assert read(tmp_path) == [CHANGE, other]


def test_a_file_that_says_nonsense_is_named(tmp_path):
    (tmp_path / accepted.NAME).write_text('[{"products": "all"}]')
    with pytest.raises(UserError, match="accepted.json"):
        accepted.read(tmp_path)


def test_the_date_is_that_of_universal_time(monkeypatch):
    class Late(datetime.datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.datetime(2026, 1, 2 if zone is datetime.UTC else 3, 1)

    monkeypatch.setattr(accepted.datetime, "datetime", Late)
    assert accepted.today() == "2026-01-02"
