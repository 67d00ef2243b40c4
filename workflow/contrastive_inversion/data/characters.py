"""GlyphNet: pictures of characters, rendered from the fonts that matplotlib ships.

A class is a code point, its caption the character's Unicode name. Each image has a face, size, slant, position,
colours and background of its own. This is the embedded studies' stand-in for photographs: real rendering and
real learning, but small; it says nothing about ImageNet itself.
"""

import functools
import hashlib
import math
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from contrastive_inversion.base.errors import UserError

CATEGORIES = {"Lu", "Ll", "Lo", "Nd", "No", "Sm", "So", "Sc"}
SYMBOLS = {"Sm", "So", "Sc", "No"}
LEFT_OUT = {"BRAILLE", "BOX", "BLOCK", "SHADE", "QUADRANT", "MODIFIER"}  # words of a name
FACES_NEEDED = 8  # a character that fewer faces contain is no class
LOOKALIKE_COSINE = 0.93  # of 24 px bitmaps: above it two characters cannot be told apart
FIRST = "ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghijmnqrt"
SHIFTED = "ÁÇÉÍÑÓÚÝŠŽ"  # kept out of every class list: the label-shift test shows them as new classes
EM = 64  # pixels at which a glyph is drawn before it is scaled into the frame
DRAWS = 18  # uniforms that one image consumes


@functools.cache
def faces() -> tuple[Path, ...]:
    """The text faces of matplotlib's DejaVu and STIX families, sorted by name. Raises UserError if absent."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    shipped = [*sorted(folder.glob("DejaVu*.ttf")), *sorted(folder.glob("STIXGeneral*.ttf"))]
    usable = tuple(path for path in shipped if "Display" not in path.name)
    if len(usable) < FACES_NEEDED:
        raise UserError(
            f"{folder}: {len(usable)} DejaVu and STIX fonts, at least {FACES_NEEDED} are needed; "
            "this matplotlib lacks its fonts: pip install --force-reinstall matplotlib"
        )
    return usable


@functools.cache
def coverage() -> tuple[frozenset[int], ...]:
    """For each face, the set of code points that it contains."""
    from fontTools.ttLib import TTFont

    return tuple(frozenset(TTFont(path, lazy=True).getBestCmap()) for path in faces())


@functools.cache
def faces_with(code_point: int) -> tuple[int, ...]:
    """Indices of the faces that contain a code point."""
    return tuple(i for i, covered in enumerate(coverage()) if code_point in covered)


def is_candidate(character: str) -> bool:
    """Whether a character may be a class: named, of a wanted category, in enough faces, not for the label shift."""
    name = unicodedata.name(character, "")
    wanted = unicodedata.category(character) in CATEGORIES and not LEFT_OUT & set(name.split())
    return bool(name) and wanted and character not in SHIFTED and len(faces_with(ord(character))) >= FACES_NEEDED


def order(character: str) -> tuple[bool, bytes]:
    """Symbols before the letters of other alphabets, each group in an order fixed by the hash."""
    return unicodedata.category(character) not in SYMBOLS, hashlib.sha256(character.encode()).digest()


@functools.cache
def classes() -> tuple[str, ...]:
    """Every class as a character: the letters of FIRST, then the others (see `order`).

    A character that looks like an earlier one is dropped, so the classes can be told apart.
    """
    covered: frozenset[int] = frozenset().union(*coverage())
    others = sorted((c for c in map(chr, covered) if c not in FIRST and is_candidate(c)), key=order)
    kept: list[str] = []
    bitmaps = np.empty((0, 24 * 24), np.float32)
    for character in [*FIRST, *others]:
        bitmap = signature(character)
        if len(kept) < len(FIRST) or (bitmaps @ bitmap).max() < LOOKALIKE_COSINE:
            kept.append(character)
            bitmaps = np.vstack([bitmaps, bitmap])
    return tuple(kept)


def caption(character: str) -> str:
    """The class's caption: its Unicode name in lower case."""
    return unicodedata.name(character).lower()


def signature(character: str) -> np.ndarray:
    """A 24 px bitmap of the character in its first face, flattened to unit length: float32 (576,)."""
    bitmap = glyph(faces_with(ord(character))[0], character, 0)
    pixels: np.ndarray = np.asarray(bitmap.resize((24, 24), Image.Resampling.BILINEAR), np.float32).ravel()
    return pixels / max(np.linalg.norm(pixels), 1e-6)


@functools.lru_cache(maxsize=4096)
def glyph(face: int, character: str, stroke: int) -> Image.Image:
    """The character alone, white on black, cropped to its ink and padded to a square: PIL image of mode L."""
    font = ImageFont.truetype(str(faces()[face]), EM)
    left, top, right, bottom = map(int, font.getbbox(character, stroke_width=stroke))
    width, height = max(right - left, 1), max(bottom - top, 1)
    side = max(width, height, EM // 2) + 2
    image = Image.new("L", (side, side))
    origin = ((side - width) // 2 - left, (side - height) // 2 - top)
    ImageDraw.Draw(image).text(origin, character, fill=255, font=font, stroke_width=stroke)
    return image


def render(character: str, draws: np.ndarray, size: int) -> np.ndarray:
    """One image of a character: uint8 (size, size, 3).

    draws: DRAWS uniforms in (0, 1) that fix face, stroke, size (0.75-1.08), rotation (16 degrees either way),
    shear (0.2), shift (8 %), a linear background gradient (70 levels either way) and the two colours.
    """
    u = iter(np.asarray(draws, np.float64).tolist())
    available = faces_with(ord(character))
    source = glyph(available[int(next(u) * len(available))], character, int(next(u) * 3))
    ink = placed(source, size, u)[..., None]  # (size, size, 1)
    background, foreground = colours(u)
    angle = 2 * math.pi * next(u)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    slope = ramp[None] * math.cos(angle) + ramp[:, None] * math.sin(angle)  # (size, size)
    tint = np.array([next(u) * 2 - 1 for _ in range(3)], np.float32)
    canvas = background + 70 * slope[..., None] * tint  # (size, size, 3)
    return np.clip(canvas * (1 - ink) + foreground * ink, 0, 255).round().astype(np.uint8)


def placed(source: Image.Image, size: int, u: Iterator[float]) -> np.ndarray:
    """The glyph scaled, sheared, rotated and shifted into the frame: float32 (size, size) in [0, 1]."""
    scale, rotation, shear, shift_x, shift_y = (next(u) for _ in range(5))
    zoom = source.width / (0.88 * size * (0.75 + 0.33 * scale))
    angle = math.radians(32 * rotation - 16)
    slant = 0.4 * shear - 0.2
    a, b = zoom * math.cos(angle), zoom * math.sin(angle)
    d, e = -b + slant * a, a + slant * b
    centre_x, centre_y = size * (0.42 + 0.16 * shift_x), size * (0.42 + 0.16 * shift_y)
    half = source.width / 2
    matrix = (a, b, half - a * centre_x - b * centre_y, d, e, half - d * centre_x - e * centre_y)
    image = source.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32) / 255


def colours(u: Iterator[float]) -> tuple[np.ndarray, np.ndarray]:
    """Background and foreground colours, at least 80 of 255 apart in luminance: two float32 (3,)."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    background = 255 * np.array([next(u) for _ in range(3)], np.float32)
    foreground = 255 * np.array([next(u) for _ in range(3)], np.float32)
    light = weights @ background
    distance = 80 + next(u) * 60
    target = light + distance if light < 127.5 else light - distance
    if abs(weights @ foreground - light) < 80:
        foreground = foreground + (target - weights @ foreground)
    return background, foreground
