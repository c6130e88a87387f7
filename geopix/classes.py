"""Class names, their synonyms across data sets, and ids: the vocabulary of the class query Q_c (§III-B, Eq. 1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

UNKNOWN = "unknown"

VHR10 = (
    "airplane", "ship", "storage tank", "baseball diamond", "tennis court",
    "basketball court", "ground track field", "harbor", "bridge", "vehicle",
)  # fmt: skip

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "airplane": ("plane", "aircraft", "aeroplane", "jet", "airliner"),
    "ship": ("boat", "vessel", "yacht"),
    "storage tank": ("storagetank", "oil tank", "tank", "fuel tank"),
    "baseball diamond": ("baseballfield", "baseball field", "baseballdiamond"),
    "tennis court": ("tenniscourt",),
    "basketball court": ("basketballcourt",),
    "ground track field": ("groundtrackfield", "athletic field", "running track", "track field", "stadium track"),
    "harbor": ("harbour", "dock", "pier", "wharf"),
    "bridge": (),
    "vehicle": ("car", "truck", "small vehicle", "large vehicle", "van", "automobile"),
    "helicopter": (),
    "swimming pool": (),
    "soccer ball field": ("soccer field", "football field"),
    "roundabout": (),
    "container crane": (),
    "airport": (),
    "helipad": (),
    "chimney": (),
    "dam": (),
    "golf course": ("golffield", "golf field"),
    "overpass": (),
    "stadium": (),
    "train station": ("trainstation",),
    "windmill": ("wind turbine",),
    "expressway service area": (),
    "toll station": ("expressway toll station",),
    "intersection": (),
}

KNOWN = tuple(_SYNONYMS)
"""Every class that has a canonical name here, over all data sets."""

ABSENT_CANDIDATES = (
    "helicopter", "helipad", "windmill", "chimney", "dam", "golf course", "toll station", "container crane",
    "expressway service area", "train station",
)  # fmt: skip
"""Classes that VHR-10's images hardly ever hold: asked about so that a model learns to say "there is none". Others,
such as airports and swimming pools, are there without being annotated."""


def plural(noun: str) -> str:
    """The plural of a class name: "airplane" -> "airplanes"."""
    if noun.endswith("aircraft"):
        return noun
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def wordings(name: str) -> tuple[str, ...]:
    """A canonical class name followed by the other words that people use for it."""
    return (name, *(word for word in _SYNONYMS.get(name, ()) if " " in word or word in _PLAIN_WORDS))


def nouns() -> dict[str, str]:
    """Every word that a known class is called by -> its canonical name."""
    return {word: name for name, others in _SYNONYMS.items() for word in (name, *others)}


_PLAIN_WORDS = frozenset({"plane", "aircraft", "jet", "boat", "vessel", "harbour", "dock", "pier", "car", "truck"})


@dataclass(frozen=True)
class ClassVocabulary:
    """The classes of a memory bank, in the order of its slots; one more slot after the last is "unknown".

    Args:
        names: Canonical names; ids count from 0, ``unknown_id`` is ``len(names)``.
    """

    names: tuple[str, ...] = VHR10

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names) or UNKNOWN in self.names:
            raise ValueError("class names must differ from one another and from 'unknown'")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def unknown_id(self) -> int:
        """The id of the slot for classes that the bank does not know."""
        return len(self.names)

    def name(self, class_id: int) -> str:
        """The name of a slot, "unknown" for the last.

        Raises:
            ValueError: If there is no such slot.
        """
        if not 0 <= class_id <= len(self.names):
            raise ValueError(f"class id {class_id} is outside 0..{len(self.names)} ({len(self.names)} is 'unknown')")
        return (*self.names, UNKNOWN)[class_id]

    def id(self, name: str) -> int:
        """The slot of a class name or synonym; ``unknown_id`` where there is none."""
        key = _normal(name)
        return self._ids.get(key, self.unknown_id)

    def named_in(self, phrase: str) -> int | None:
        """The class that a phrase names, or None: the earliest mention that is not part of a longer one.

        "the ship next to the bridge" names a ship; "the track field" a ground track field.
        """
        found = self._pattern.search(_normal(phrase))
        if found is None:
            return None
        word = found.group(1)
        return self._ids.get(word, self._ids.get(self._singulars.get(word, ""), None))

    @cached_property
    def _ids(self) -> dict[str, int]:
        ids: dict[str, int] = {}
        for index, name in enumerate(self.names):
            for word in (name, *_SYNONYMS.get(name, ())):
                ids.setdefault(_normal(word), index)
        return ids

    @cached_property
    def _singulars(self) -> dict[str, str]:
        return {plural(word): word for word in self._ids}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        words = sorted({*self._ids, *self._singulars}, key=len, reverse=True)
        return re.compile(r"\b(" + "|".join(map(re.escape, words)) + r")\b")


def canonical(name: str) -> str:
    """The canonical spelling of a foreign class name ("storage_tank" -> "storage tank"); unchanged if unheard of."""
    key = _normal(name)
    for known, others in _SYNONYMS.items():
        if key == known or key in map(_normal, others):
            return known
    return key


def _normal(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())
