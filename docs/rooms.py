"""The picture in architecture.md: the rooms and the imports between them, counted in the code.

`python docs/rooms.py` writes it into the page; a test says when the page is no longer what the code is.
"""

import re
from collections import Counter
from pathlib import Path

import grimp

PAGE = Path(__file__).with_name("architecture.md")
ROOMS = ("base", "distort", "ledger", "data", "learn", "papers", "show", "run")
PICTURE = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)


def arrows() -> Counter[tuple[str, str]]:
    """How many imports go from a module of one room to a module of another: {(importer, imported): count}."""
    graph = grimp.build_graph("contrastive_inversion", exclude_type_checking_imports=True)
    counts: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = tuple((name.split(".") + [""])[1] for name in (module, imported))
            if pair[0] != pair[1] and set(pair) <= set(ROOMS):
                counts[pair[0], pair[1]] += 1
    return counts


def picture() -> str:
    """The rooms as a Mermaid diagram, an arrow from the importing room to the imported one."""
    lines = ["```mermaid", "flowchart BT"]
    lines += [f"  {room}[{room}/]" for room in ROOMS]
    lines += [f"  {a} -- {count} --> {b}" for (a, b), count in sorted(arrows().items(), key=order)]
    return "\n".join([*lines, "```", ""])


def order(item: tuple[tuple[str, str], int]) -> tuple[int, int]:
    (a, b), _ = item
    return ROOMS.index(a), ROOMS.index(b)


if __name__ == "__main__":
    PAGE.write_text(PICTURE.sub(picture(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
