"""A pytest plugin that tells mutmut which tests a mutated function needs, and puts the quickest of them first.

mutmut tests a mutant with the tests that were seen to call its function. Unseen are the calls that a full
`functools.cache` saves, so every test starts with empty ones, and the calls in other Python processes, so a test that
starts one is taken to call every function of the modules that it names.
"""

import functools
import inspect
import json
import os
import sys
from pathlib import Path

from mutmut.stats import record_trampoline_hit

CACHED = type(functools.cache(len))
ORIGINAL = "__mutmut_orig"  # how mutmut's names for the unchanged functions end


def pytest_collection_modifyitems(items):
    """The first test that fails ends a mutant, and most fail many."""
    stats = Path("mutmut-stats.json")  # there once mutmut has seen the tests pass
    seconds = json.loads(stats.read_text())["duration_by_test"] if stats.exists() else {}
    items.sort(key=lambda item: seconds.get(item.nodeid, 0))


def pytest_runtest_setup(item):
    empty_caches()
    if os.environ.get("MUTANT_UNDER_TEST") == "stats" and "sys.executable" in inspect.getsource(item.function):
        for module in filter(is_ours, vars(item.module).values()):
            call_everything(module)


def is_ours(value):
    return inspect.ismodule(value) and value.__name__.startswith("contrastive_inversion.")


def empty_caches():
    for module in filter(is_ours, list(sys.modules.values())):
        for function in [value for value in vars(module).values() if isinstance(value, CACHED)]:
            function.cache_clear()


def call_everything(module):
    """Let mutmut believe that the test at hand calls every function of a module."""
    for name in [name for name in vars(module) if name.endswith(ORIGINAL)]:
        record_trampoline_hit(f"{module.__name__}.{name.removesuffix(ORIGINAL)}")
