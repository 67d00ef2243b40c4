"""One name, one thing: what a name stands for in a file does not change from line to line."""

import ast
from pathlib import Path

import pytest

from contrastive_inversion.base import fingerprint

FILES = sorted(fingerprint.HERE.rglob("*.py"))
MODULES = {path.stem for path in FILES} - {"__init__", "__main__"}
CUSTOM = {"settings"}  # pydantic's word for the module, the argument and the part of a recipe


def named_in(function: ast.FunctionDef) -> set[str]:
    """The arguments and local variables of a function."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    stored = [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return {argument.arg for argument in arguments} | set(stored)


def locals_of(path: Path) -> set[str]:
    return set().union(*(named_in(n) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(fingerprint.HERE).as_posix())
def test_no_variable_has_the_name_of_a_module_that_its_file_imports(path):
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").startswith(fingerprint.PACKAGE)]
    imported = {alias.asname or alias.name for node in ours for alias in node.names} & MODULES
    assert not imported & locals_of(path)


def test_no_module_shares_its_name_with_a_variable_and_a_setting():
    fields = {
        node.target.id
        for path in FILES
        if path.stem == "settings"
        for each in ast.walk(ast.parse(path.read_text()))
        if isinstance(each, ast.ClassDef)
        for node in each.body
        if isinstance(node, ast.AnnAssign)
    }
    assert {"classes", "teacher"} <= fields and "study" in MODULES
    assert MODULES & fields & set().union(*map(locals_of, FILES)) == CUSTOM
