"""What survived: docs/mutants.md, from the verdicts that mutmut left in .mutants/ and the reasons in survivors.yaml.

survivors.yaml says by file, function and changed line why a survivor is harmless, so a reason outlives line numbers.
"""

import ast
import difflib
import json
import re
import subprocess
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = REPOSITORY / ".mutants"
REASONS = Path(__file__).with_name("survivors.yaml")
PACKAGE = Path("src/contrastive_inversion")
ALIVE = {0, 5, 33}  # mutmut's codes: all tests passed; there were none; no test calls the function
HEAD = """\
# Mutants

`make mutants` changes the code below in small ways, one at a time, and runs the fast tests that call it. A change that
no test notices survives. Not changed: constants outside of functions, functions with decorators, docstrings and the
wording of messages. Where fewer were tried than there are, the last digit of their number chose them, not what they
change (`MUTANTS='*[37]' make mutants`). Why a survivor is harmless is kept in `tests/mutants/survivors.yaml`.
Lines are those of commit {commit}.
"""


def write(rooms):
    """Write docs/mutants.md where every room has been run, else print it: the document is only ever whole."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True
    ).stdout
    text = "\n".join([HEAD.format(commit=commit.strip()), overview(files := staged()), *map(survivors, files)])
    missing = [room for room in rooms if not (STAGES / room).exists()]
    if missing:
        print(text, f"\ndocs/mutants.md is left alone until these have been run: {', '.join(missing)}", sep="\n")
    else:
        (REPOSITORY / "docs" / "mutants.md").write_text(text)


def staged():
    """The files that have mutants, as mutmut's copies of them."""
    copies = [path.with_suffix("") for path in STAGES.glob(f"*/mutants/{PACKAGE}/**/*.meta")]
    return sorted(filter(verdicts, copies), key=name_of)


def name_of(path):
    return path.as_posix().split(f"{PACKAGE}/")[1]


def all_of(path):
    """Exit codes by the names of a file's mutants, None of those that were not tried."""
    return json.loads(Path(f"{path}.meta").read_text())["exit_code_by_key"]


def verdicts(path):
    """The same of those that were tried: all of them unless MUTANTS named some, or mutmut was interrupted."""
    return {mutant: code for mutant, code in all_of(path).items() if code is not None}


def overview(files):
    """How many mutants each file has, and how many of them the tests kill."""
    rows = []
    for path in files:
        codes = list(verdicts(path).values())
        survived = sum(code in ALIVE for code in codes)
        rows.append((f"`{name_of(path)}`", len(all_of(path)), len(codes), len(codes) - survived, survived))
    rows.append(("all", *(sum(row[i] for row in rows) for i in (1, 2, 3, 4))))
    lines = [(*row, f"{100 * row[3] / max(row[2], 1):.0f}") for row in rows]
    return table(("File", "Mutants", "Tried", "Killed", "Survived", "%"), lines)


def table(heads, rows):
    """A Markdown table, not padded: one survivor more is one line more in a diff."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def survivors(path):
    """A file's surviving mutants and why they are harmless; an empty reason asks for a test or for a reason."""
    known = yaml.safe_load(REASONS.read_text())
    everywhere, reasons = known["everywhere"], known.get(name_of(path), {})
    rows = []
    for mutant in (name for name, code in verdicts(path).items() if code in ALIVE):
        line, function, before, after = change(path, mutant.rpartition(".")[2])
        reason = reasons.get(function, {})  # one for the function, or one for each line
        why = reason if isinstance(reason, str) else reason.get(after or f"- {before}", "")
        why = why or next(
            (text for change, text in everywhere.items() if re.search(change, f"{before} => {after}")), ""
        )
        rows.append((line, f"`{function}`", quoted(before), quoted(after), why))
    heads = ("Line", "Function", "Was", "Became", "Why harmless")
    return f"## {name_of(path)}\n\n{table(heads, sorted(rows)) if rows else 'None survived.'}"


def quoted(code):
    """Code in a cell of a Markdown table."""
    return f"`` {code} ``".replace("|", "\\|") if code else ""


def change(path, mutant):
    """Where and how a mutant differs: line in the source, function, the lines before and after."""
    stem = mutant.partition("__mutmut_")[0]
    function = stem.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    before, after = (body(path, name, function) for name in (f"{stem}__mutmut_orig", mutant))
    steps = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    _, i, j, k, m = next(step for step in steps if step[0] != "equal")
    line = lines_of(name_of(path))[function] + i
    return line, function, *(" ".join(map(str.strip, part)) for part in (before[i:j], after[k:m]))


def body(path, name, function):
    """The lines of a generated function, from its def, under the name that it has in the source."""
    first, last = json.loads(Path(f"{path}.spans").read_text())["spans"][name]
    text = path.read_text().replace(name, function.rpartition(".")[2])
    lines = text.splitlines()[first - 1 : last]
    return lines[next(i for i, line in enumerate(lines) if line.lstrip().startswith("def ")) :]


def lines_of(file):
    """The lines of a source file's functions and methods."""
    module = ast.parse((REPOSITORY / "workflow" / PACKAGE.name / file).read_text())
    scopes = [("", module), *((f"{c.name}.", c) for c in module.body if isinstance(c, ast.ClassDef))]
    return {
        prefix + node.name: node.lineno
        for prefix, scope in scopes
        for node in scope.body
        if isinstance(node, ast.FunctionDef)
    }
