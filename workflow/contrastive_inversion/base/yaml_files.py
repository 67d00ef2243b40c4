"""Reading YAML that people write: safe, strict, in one line what is wrong with it. Imports no torch."""

import re
from collections.abc import Hashable
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from contrastive_inversion.base.errors import UserError

MOST_NODES = 100_000  # of a YAML file: the largest of ours has a few thousand
MOST_LEVELS = 2000  # of nesting: libyaml's parser crashes beyond some 20,000, that in Python never does


class Strict(yaml.constructor.SafeConstructor):
    """Safe YAML that reads 3e-4 as the number it is (YAML 1.1 wants 3.0e-4), and no key twice, no part of itself."""

    def construct_document(self, node: yaml.Node) -> Any:
        """The content. Raises yaml's ConstructorError for aliases of what they stand in, or of far too much."""
        if written_out(node, {}) > MOST_NODES:
            raise yaml.constructor.ConstructorError(None, None, "its aliases stand for too much", node.start_mark)
        self.deep_construct = True
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping; keys that `<<` brings may be said again. Raises yaml's ConstructorError for a key said twice."""
        for position, (key, _) in enumerate(node.value):
            if key.value in [other.value for other, _ in node.value[:position] if other.tag == key.tag]:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key.value}' twice", key.start_mark)
        return super().construct_mapping(node, deep)


def written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """How many nodes there are with every alias written out; known: those counted already, by identity."""
    if id(node) not in known:
        known[id(node)] = 1
        inner = chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] += sum(written_out(each, known) for each in inner if isinstance(each, yaml.Node))
    return known[id(node)]


class SlowLoader(Strict, yaml.SafeLoader):
    """With the parser in Python, which no depth of nesting crashes, and which refuses tabs, as Snakemake does."""


class Loader(Strict, yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """With libyaml's parser where PyYAML has it, six times as fast."""


for loader in (SlowLoader, Loader):
    loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )


def most_levels(text: str) -> int:
    """A bound on how deep some YAML nests: brackets open levels, and so do indents and marks at a line's beginning."""
    columns = max((len(line) - len(line.lstrip(" ?:-\ufeff")) for line in text.splitlines()), default=0)
    return text.count("[") + text.count("{") + 2 * (columns + 1)  # a sequence may lie as far left as its key


def read_yaml(path: Path) -> Any:
    """A YAML file's content, {} of an empty one. Raises UserError naming the file and line where it is not valid."""
    try:
        text = path.read_text(encoding="utf-8")
        slow = "\t" in text or most_levels(text) > MOST_LEVELS
        content = yaml.load(text, SlowLoader if slow else Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    return {} if content is None else content
