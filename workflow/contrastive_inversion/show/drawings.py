"""Figures as they stand in the page: pictures of vectors that take its colours, so that they are dark where it is."""

import base64
import re
from pathlib import Path

INK = re.compile(r"#000000|#262626|\bblack\b")  # matplotlib's and seaborn's colours of text and axes
PAPER = re.compile(r"fill: #ffffff(; opacity: [\d.]+)?")
NAMES = re.compile(r'(id="|href="#|url\(#)')


def inline(path: Path, name: str) -> str:
    """The svg element of a figure's file; name: put before its ids, which must differ within a page."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' (xmlns(:\w+)?|version)="[^"]*"', "", text).replace("xlink:href", "href")  # HTML knows what svg is
    text = re.sub(r'^<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", text)
    return NAMES.sub(rf"\1{name}-", PAPER.sub("fill: none", INK.sub("currentColor", text)))


def embedded(path: Path) -> str:
    """A png file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
