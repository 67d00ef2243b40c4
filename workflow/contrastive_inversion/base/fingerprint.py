"""Fingerprints of code: what a function reaches, definition by definition, so that a change can be named.

From where a job starts, names are followed through the package's syntax trees: functions, classes with all their
methods, constants, files that lie beside the code. Left out is what moves no number: comments, docstrings, positions,
type hints, descriptions of settings, the words of errors, and the modules in SILENT. Names that are looked up while the
code runs (`getattr`) are not followed; the package does that nowhere on the way from an image to a number. Imports
nothing of what it reads.
"""

import ast
import functools
import hashlib
import importlib.metadata
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrastive_inversion.base.canonical import canonical, digest

PACKAGE = "contrastive_inversion"
HERE = Path(__file__).parents[1]
DIGITS = 12  # of a definition's digest
THEN = ", then "  # between what began a job and what ended it
# progress, locks, places, words, how files are kept, and what reads YAML: what that lets through stands in the recipe
SILENT = {
    f"base.{name}"
    for name in ("canonical", "errors", "files", "gpus", "job", "machine", "recipe", "settings", "yaml_files")
}
LIBRARIES = {  # that decide numbers: by the name that is imported, that of the distribution
    "PIL": "pillow", "fontTools": "fonttools", "matplotlib": "matplotlib", "numpy": "numpy",
    "open_clip": "open_clip_torch", "pandas": "pandas", "pywt": "pywavelets", "scipy": "scipy", "seaborn": "seaborn",
    "skimage": "scikit-image", "sklearn": "scikit-learn", "torch": "torch", "torchvision": "torchvision",
}  # fmt: skip


@dataclass(frozen=True)
class Fingerprint:
    """What some code is: digests of all definitions that it reaches (`learn/loop.py: fit`), versions of libraries."""

    definitions: dict[str, str]
    libraries: dict[str, str]

    @property
    def digest(self) -> str:
        """One for all."""
        return digest(canonical([self.definitions, self.libraries]))

    def joined(self, later: "Fingerprint") -> "Fingerprint":
        """Of what was begun by this code and ended by a later one: where they differ it is neither's."""
        return Fingerprint(joined(self.definitions, later.definitions), joined(self.libraries, later.libraries))


def joined(first: dict[str, str], later: dict[str, str]) -> dict[str, str]:
    """The values of two dictionaries, in the order in which they came where they differ."""
    both = {key: [*(first.get(key) or "none").split(THEN), later.get(key) or "none"] for key in {**first, **later}}
    return {key: THEN.join(dict.fromkeys(values)) for key, values in sorted(both.items())}


@functools.cache
def of(*starts: str) -> Fingerprint:
    """The Fingerprint of what some definitions reach, each named `module:name` as in a paper's kinds of job."""
    reached: dict[tuple[str, str], str] = {}
    libraries: set[str] = set()
    pending = [(module, name) for module, _, name in (start.partition(":") for start in starts)]
    while pending:
        module, name = pending.pop()
        if (module, name) in reached or module in SILENT:
            continue
        part = part_of(module, name)
        reached[module, name] = part.digest
        libraries |= part.libraries
        pending += [*part.reaches, *([(module, "")] if "" in module_of(module).defined else [])]
    definitions = {display_name(*place): digits for place, digits in sorted(reached.items())}
    return Fingerprint(definitions, {name: version(name) for name in sorted(libraries)})


def display_name(module: str, name: str) -> str:
    """A definition as people read it: `learn/loop.py: fit`; a module's own statements by its file alone."""
    path = f"{module.replace('.', '/')}.py"
    return f"{path}: {name}" if name else path


@functools.cache
def version(library: str) -> str:
    """The version of an installed library; empty where it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


@dataclass(frozen=True)
class Part:
    """A definition of a module: its digest, the definitions and the libraries that it names."""

    digest: str
    reaches: list[tuple[str, str]]
    libraries: set[str]


@dataclass(frozen=True)
class Module:
    """A module's top level: statements by the name that they define (none: the empty name), and what is imported.

    imports: a name here to the dotted name of what it stands for; scopes: of functions and classes, by their names.
    """

    path: Path
    scopes: dict[str, symtable.SymbolTable]
    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)


@functools.cache
def path_of(module: str) -> Path | None:
    """The file of a module of the package, by its dotted name below it; None where there is none."""
    base = HERE.joinpath(*module.split(".")) if module else HERE
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@functools.cache
def module_of(name: str) -> Module:
    """A module of the package, its syntax tree cleared of what moves no number."""
    path = path_of(name)
    assert path, f"the package has no module '{name}'"
    text = path.read_text(encoding="utf-8")
    scopes = symtable.symtable(text, str(path), "exec").get_children()
    module = Module(path, {scope.get_name(): scope for scope in scopes})
    for statement in Clear().visit(ast.parse(text)).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            module.imports.update(imported(statement))
        elif not (isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"):
            for defined in names_of(statement):
                module.defined.setdefault(defined, []).append(statement)
    return module


def names_of(statement: ast.stmt) -> list[str]:
    """The names that a statement defines; the empty one for a statement that only acts."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", statement)]
    return [node.id for target in targets for node in ast.walk(target) if is_stored(node)] or [""]  # type: ignore[attr-defined]


def is_stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def imported(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """(name here, dotted name of what it stands for) of an import."""
    for alias in statement.names:
        if isinstance(statement, ast.ImportFrom):
            yield alias.asname or alias.name, f"{statement.module}.{alias.name}"
        else:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2


class Clear(ast.NodeTransformer):
    """Takes out of a syntax tree what moves no number; hints of a class's fields are kept apart, to be followed."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Bare strings, docstrings among them, go."""
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """What an error says goes."""
        return ast.Raise()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Type hints go, those of its variables too."""
        node.returns = None
        self.generic_visit(node)
        for inner in ast.walk(node):
            vars(inner).pop("hint", None)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Type hints go."""
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Type hints move to where only the names in them are read."""
        self.generic_visit(node)
        bare: Any = ast.Assign([node.target], node.value) if node.value else ast.Expr(node.target)
        bare.hint = node.annotation
        return bare

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        """What a setting's description says goes."""
        return None if node.arg == "description" else self.generic_visit(node)


def serialised(node: object) -> Iterator[str]:
    """A syntax tree in words, the same in every version of Python: fields that are empty are left out."""
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if value not in (None, []) and name not in ("ctx", "kind", "type_params"):
                yield name
                yield from serialised(value)
        yield ")"
    elif isinstance(node, list):
        for each in node:
            yield from serialised(each)
    else:
        yield repr(node)


@functools.cache
def part_of(module: str, name: str) -> Part:
    """A definition of a module: what it says, with the files that it names, and what it reaches."""
    parsed = module_of(module)
    statements = parsed.defined[name]
    nodes = [node for statement in statements for node in nodes_of(statement)]
    local = dict(pair for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for pair in imported(node))
    known = {**parsed.imports, **dict.fromkeys(parsed.defined, ""), **local}
    if name in parsed.scopes:
        free = globals_of(parsed.scopes[name]).union(*map(outer_names, statements))
        known = {each: known[each] for each in known if each in free or each in local}
    meant = {target for node in nodes if (target := meaning(node, module, known))}
    words = " ".join([*serialised(statements), *files_named(nodes, parsed)])
    reaches = sorted(target for target in meant if isinstance(target, tuple))
    libraries = {LIBRARIES[target] for target in meant if isinstance(target, str) and target in LIBRARIES}
    return Part(digest(words)[:DIGITS], reaches, libraries)


def outer_names(statement: ast.stmt) -> set[str]:
    """The names in a definition that are looked up where it stands: of its bases, decorators and defaults."""
    outer = [*getattr(statement, "bases", []), *getattr(statement, "decorator_list", [])]
    if isinstance(statement, ast.FunctionDef):
        outer += [*statement.args.defaults, *filter(None, statement.args.kw_defaults)]
    return {node.id for each in outer for node in ast.walk(each) if isinstance(node, ast.Name)}


def globals_of(scope: symtable.SymbolTable) -> set[str]:
    """The names in a function or class that stand for something outside of it."""
    own = {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
    return own.union(*map(globals_of, scope.get_children()))


def nodes_of(statement: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a statement, those of its fields' type hints among them."""
    for node in ast.walk(statement):
        yield node
        if hint := getattr(node, "hint", None):
            yield from ast.walk(hint)


def meaning(node: ast.AST, module: str, known: dict[str, str]) -> tuple[str, str] | str | None:
    """What a name or a dotted name stands for: a definition (module, name), the import name of a library, or None.

    known: the names that mean something here: of imports to the dotted name, of the module's own definitions to "".
    """
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and known.get(node.value.id):
        return resolved(f"{known[node.value.id]}.{node.attr}")
    if isinstance(node, ast.Name) and node.id in known:
        return resolved(known[node.id]) if known[node.id] else (module, node.id)
    return None


def resolved(dotted: str) -> tuple[str, str] | str | None:
    """A dotted name as a definition of the package, through modules that only hand it on, or as a library."""
    if not dotted.startswith(f"{PACKAGE}."):
        return dotted.partition(".")[0]
    below = dotted.removeprefix(f"{PACKAGE}.")
    module, _, name = below.rpartition(".")
    if path_of(below):
        return None  # a module: what is taken from it is named too
    if path_of(module) is None:
        return resolved(f"{PACKAGE}.{module}") if "." in module else None  # an attribute of a definition
    parsed = module_of(module)
    if name in parsed.defined:
        return module, name
    return resolved(parsed.imports[name]) if name in parsed.imports else None


def files_named(nodes: list[ast.AST], module: Module) -> list[str]:
    """The sha256 of all files beside a module, or in folders there, that a string in it names."""
    names = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    places = [module.path.parent / name for name in sorted(names) if name.isprintable() and 2 < len(name) < 60]
    listed = (sorted(place.iterdir()) if place.is_dir() else [place] for place in places if place.exists())
    return [hashlib.sha256(path.read_bytes()).hexdigest() for paths in listed for path in paths if path.is_file()]
