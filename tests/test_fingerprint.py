"""What a fingerprint of code follows, on a package of a few lines."""

import pytest

from contrastive_inversion.base import fingerprint

FILES = {
    "start.py": '''
"""A docstring."""
import numpy as np
from typing import TYPE_CHECKING
from contrastive_inversion import tools
from contrastive_inversion.middle import Child, handed_on as other

if TYPE_CHECKING:
    from contrastive_inversion.unread import Hint

LIMIT: int = 3


def run(images: "Hint", unused=LIMIT):
    """Another docstring."""
    from contrastive_inversion.late import late

    middle = [tools for tools in images]
    if not images:
        raise ValueError(tools.words())
    return late(Child(middle)), other, np.sum


def shadowed(other):
    return other
''',
    "middle.py": """
from contrastive_inversion.base_of import Base, registry
from contrastive_inversion.tools import used as handed_on


@registry
class Child(Base):
    size: "int" = 3

    def method(self):
        return WITHIN

WITHIN = 1
WITHOUT = 2
""",
    "base_of.py": """
import torch
KNOWN = {}
KNOWN.update(a=1)


class Base:
    def __init__(self, x):
        self.x = torch.tensor(x)


def registry(of):
    return of
""",
    "tools.py": """
def used():
    text: Unread = (HERE / "list.txt").read_text()
    return text

def words():
    return 1

class Unread:
    x = 1

HERE = 1
""",
    "late.py": "def late(x):\n    return late(x)\n",
    "unread.py": "class Hint: ...\n",
    "list.txt": "a b c",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(fingerprint, "HERE", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget():
    for function in (fingerprint.of, fingerprint.path_of, fingerprint.module_of, fingerprint.part_of):
        function.cache_clear()


def test_names_are_followed_through_imports_bases_decorators_defaults_and_constants(package):
    found = fingerprint.of("start:run")
    assert set(found.definitions) == {
        "start.py: run", "start.py: LIMIT", "late.py: late", "middle.py: Child", "middle.py: WITHIN",
        "base_of.py", "base_of.py: Base", "base_of.py: KNOWN", "base_of.py: registry", "tools.py: used",
        "tools.py: HERE",
    }  # fmt: skip
    assert set(found.libraries) == {"numpy", "torch"} and all(found.libraries.values())


def test_a_name_of_its_own_is_no_name_of_the_module(package):
    assert set(fingerprint.of("start:shadowed").definitions) == {"start.py: shadowed"}


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("list.txt", "a b", "a  b", ["tools.py: used"]),
        ("base_of.py", "a=1", "a=2", ["base_of.py"]),
        ("middle.py", "size: ", "width: ", ["middle.py: Child"]),
        ("middle.py", '"int"', '"float"', []),
        ("middle.py", "WITHOUT = 2", "WITHOUT = 3", []),
        ("start.py", "not images", "images", ["start.py: run"]),
        ("start.py", "ValueError(tools.words())", "TypeError", []),
        ("tools.py", "return 1", "return 2", []),
    ],
)
def test_a_change_is_named_by_what_it_is_in(package, file, old, new, changed):
    before = fingerprint.of("start:run")
    text = (package / file).read_text()
    (package / file).write_text(text.replace(old, new))
    forget()
    after = fingerprint.of("start:run")
    assert [name for name in after.definitions if after.definitions[name] != before.definitions[name]] == changed
    assert (after.digest == before.digest) == (not changed)


def test_the_same_code_has_the_same_digest_under_every_python(package):
    """The digest is of the tree in words of its own; 3.11, 3.12 and 3.13 give this one."""
    assert fingerprint.of("start:run").definitions["start.py: run"] == "7db961dcb6e9"
