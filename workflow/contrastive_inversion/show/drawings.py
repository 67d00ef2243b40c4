"""Figures as they stand in the page: pictures of vectors that take its colours, so that they are dark where it is."""

import base64
import re
from pathlib import Path

INK = re.compile(r"#000000|#262626|\bblack\b")  # matplotlib's and seaborn's colours of text and axes
GRID = "#cccccc"  # seaborn's
PAPER = re.compile(r"fill: #ffffff(; opacity: [\d.]+)?")
LARGEST = 1.6  # px for a point: two panels fill the page
NAMES = re.compile(r'(id="|href="#|url\(#)')


def inline(path: Path, name: str) -> str:
    """The svg element of a figure's file; name: put before its ids, which must differ within a page."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' (xmlns(:\w+)?|version)="[^"]*"', "", text).replace("xlink:href", "href")  # HTML knows what svg is
    text = re.sub(r'^<svg ([^>]*?)width="([\d.]+)pt" height="[^"]*"', sized, text)
    return NAMES.sub(rf"\1{name}-", PAPER.sub("fill: none", INK.sub("currentColor", text.replace(GRID, "var(--line)"))))


def sized(head: re.Match[str]) -> str:
    """The head of an svg element as wide as there is room, until its text is larger than that of others."""
    return f'<svg {head[1]}style="max-width: {LARGEST * float(head[2]):.0f}px"'


def embedded(path: Path) -> str:
    """A png file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
