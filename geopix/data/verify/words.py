"""The words that descriptions are made of (§IV-C): sides, places, numbers, nouns, and what only the eye can tell."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from geopix.classes import nouns, plural
from geopix.data.verify.claims import Form, GroupWord, Order, Side

SIDES: Final[dict[str, Side]] = {
    "left": "left", "right": "right", "top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom",
}  # fmt: skip
MOST: Final[dict[str, Side]] = {
    "leftmost": "left", "rightmost": "right", "topmost": "top", "uppermost": "top", "highest": "top",
    "bottommost": "bottom", "lowermost": "bottom", "lowest": "bottom",
}  # fmt: skip
SUPERLATIVES: Final[dict[str, Order]] = {"largest": "large", "biggest": "large", "smallest": "small"}
COMPARATIVES: Final[dict[str, Order]] = {"larger": "large", "bigger": "large", "smaller": "small"}
DIRECTIONS: Final[dict[str, Side]] = {
    "above": "top", "over": "top", "below": "bottom", "under": "bottom", "beneath": "bottom", "underneath": "bottom",
}  # fmt: skip
FORMS: Final[dict[str, Form]] = {
    "corner": "corner", "edge": "edge", "border": "edge", "boundary": "edge", "margin": "edge", "side": "part",
    "part": "part", "area": "part", "region": "part", "portion": "part", "section": "part", "half": "half",
    "quarter": "quarter", "quadrant": "quarter", "third": "third",
}  # fmt: skip
CENTER = frozenset({"center", "middle"})
ORDINALS: Final[dict[str, int]] = {
    **{
        word: place
        for place, word in enumerate(
            "first second third fourth fifth sixth seventh eighth ninth tenth eleventh".split()
        )
    },
    **{f"{n}{'st' if n == 1 else 'nd' if n == 2 else 'rd' if n == 3 else 'th'}": n - 1 for n in range(1, 12)},
}
NUMBERS: Final[dict[str, int]] = {
    **{word: n for n, word in enumerate("two three four five six seven eight nine ten eleven".split(), start=2)},
    **{str(n): n for n in range(2, 12)},
    "both": 2,
}
GROUPS: Final[dict[str, GroupWord]] = {
    "cluster": "group", "group": "group", "pair": "group", "line": "line", "row": "row", "column": "column",
    "clusters": "group", "groups": "group", "pairs": "group", "lines": "line", "rows": "row", "columns": "column",
}  # fmt: skip
ANYTHING = frozenset({"object", "one", "instance", "target", "item"})
ARTICLES = frozenset({"the", "a", "an"})
FILLERS = frozenset(
    "is are which that located situated positioned placed lying lies found seen visible standing stands sitting parked "
    "docked moored anchored berthed sailing moving driving floating also just directly immediately there it its".split()
)
NEAR = frozenset({"near", "beside", "by", "alongside", "nearby"})
PREPOSITIONS = frozenset({"in", "at", "on", "to", "toward", "towards", "along", "near", "within", "inside", "by"})
UNSEEN = frozenset(
    "white black gray grey red green blue yellow brown orange silver dark bright light pale colored large small big "
    "tiny little huge long short wide narrow round circular square rectangular elongated straight curved oval "
    "diagonal vertical horizontal empty full busy new old parallel partial partially visible wooden concrete metal "
    "complete incomplete medium sized modern".split()
)
"""Adjectives that nothing but a look at the pixels could confirm."""

_REPLACED = {
    "centre": "center", "centers": "center", "central": "center", "centered": "center", "mid": "middle",
    "closest": "nearest", "furthest": "farthest", "far": "far", "picture": "image", "photo": "image",
    "photograph": "image", "scene": "image", "frame": "image", "corners": "corner", "edges": "edge",
    "adjacent": "adjacent", "lefthand": "left", "righthand": "right", "sole": "only",
    "lone": "isolated", "solitary": "isolated", "alone": "isolated",
}  # fmt: skip
_KINDS = {
    "airplane": "a220 a321 a330 a350 arj21 boeing737 boeing747 boeing777 boeing787 c919 otherairplane",
    "ship": "drycargoship engineeringship fishingboat liquidcargoship motorboat othership passengership tugboat "
    "warship containership cargoship",
    "vehicle": "bus cargotruck dumptruck excavator othervehicle smallcar tractor trailer trucktractor van",
}
KINDS: Final[dict[str, frozenset[str]]] = {name: frozenset(kinds.split()) for name, kinds in _KINDS.items()}
"""Keys of the finer classes (FAST's) that a coarse noun covers as well."""


def tokens(text: str) -> list[str]:
    """Lower-case words and commas, spellings and synonyms made one; anything else stays a token nobody can read."""
    said = text.lower().replace("-", " ").replace("_", " ").strip().rstrip(".")
    words = re.findall(r"[a-z0-9]+|[^\sa-z0-9]", said.replace("left hand", "left").replace("right hand", "right"))
    joined: list[str] = []
    for word in words:
        if word == "most" and joined and joined[-1] in ("left", "right", "top", "upper", "lower", "bottom"):
            joined[-1] += "most"
        else:
            joined.append(_REPLACED.get(word, word))
    return joined


def key(name: str) -> str:
    """A class name without spaces, hyphens and case: "Tennis-Court", "tennis court" and "tenniscourt" are one."""
    return re.sub(r"[\s_\-]+", "", name.lower())


@cache
def known() -> dict[str, tuple[str, bool]]:
    """Key of every known class word, singular and plural -> key of the singular, and whether it is a plural."""
    kinds = [kind for kinds in _KINDS.values() for kind in kinds.split()]
    return _both([*nouns(), *(kind for kind in kinds if not kind.startswith("other"))])  # "the other ship" is no class


@cache
def vocabulary(names: frozenset[str]) -> dict[str, tuple[str, bool]]:
    """`known`, with the class names and categories of one image."""
    return {**known(), **_both(sorted(name for name in names if name))}


@cache
def canonical_key(noun: str) -> str:
    """The key of the canonical class that a noun's key stands for; itself if unheard of."""
    return {key(word): key(name) for word, name in nouns().items()}.get(noun, noun)


def _both(names: list[str]) -> dict[str, tuple[str, bool]]:
    words = {key(plural(name)): (key(name), True) for name in names}
    return {**words, **{key(name): (key(name), False) for name in names}}
