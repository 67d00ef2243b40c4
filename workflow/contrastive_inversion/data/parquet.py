"""Hugging Face's ILSVRC/imagenet-1k: shards of parquet with rows {image: {bytes, path}, label}.

The image files are those of the original, byte for byte; their class follows their name, `<name>_<wnid>.JPEG`.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from contrastive_inversion.base.errors import UserError

SHARD = re.compile(r"(?P<split>\w+)-\d+-of-(?P<count>\d+)\.parquet")
NAME = re.compile(r"(?P<stem>.+)_(?P<wnid>n\d{8})(?P<ending>\.\w+)")


def shards(root: Path, split: str) -> list[Path]:
    """The shards of a split in a folder or its `data`, sorted. Raises UserError where some are missing."""
    paths = sorted(path for folder in (root / "data", root) for path in folder.glob(f"{split}-*-of-*.parquet"))
    match = SHARD.fullmatch(paths[0].name) if paths else None
    if match and len(paths) != int(match["count"]):
        raise UserError(
            f"config.yaml: data.imagenet: {paths[0].parent} has {len(paths)} of {int(match['count'])} shards "
            f"{split}-*.parquet; fetch the others"
        )
    return paths


def shard(path: Path) -> Any:
    """A shard opened by pyarrow. Raises UserError where pyarrow is missing or the file is damaged."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(f"{path}: parquet is read by pyarrow: pip install 'contrastive-inversion[parquet]'") from None
    try:
        return ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]}); fetch this file again") from None


def pictures(path: Path, wnids: Collection[str]) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """The images of some classes in a shard: (wnid, the original's file name, (row group, row)).

    Reads the names alone. Raises UserError for a shard of another form.
    """
    file = shard(path)
    if not {"image.bytes", "image.path"} <= set(leaves(file)):
        raise UserError(f"{path}: has no columns image.bytes and image.path, as ILSVRC/imagenet-1k has")
    for group in range(file.num_row_groups):
        names = file.read_row_group(group, columns=["image.path"])["image"].combine_chunks().field("path")
        for row, name in enumerate(names.to_pylist()):
            match = NAME.fullmatch(name or "")
            if match is None:
                raise UserError(
                    f"{path}: image.path is '{name}', expected a name such as n01440764_10026_n01440764.JPEG"
                )
            if match["wnid"] in wnids:
                yield match["wnid"], match["stem"] + match["ending"], (group, row)


def leaves(file: Any) -> list[str]:
    """The dotted names of a shard's columns."""
    return [file.schema.column(i).path for i in range(len(file.schema))]
