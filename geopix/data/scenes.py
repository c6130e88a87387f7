"""Which classes a whole image shows, and which it doesn't, by its labels: what absence can be asked of (§III-C).

Said only where it is sure: what neither list names may be there or not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from geopix.classes import ABSENT_CANDIDATES
from geopix.data.entries import EntryError
from geopix.records import Sample

_OPEN_GROUND = ("ground track field", "basketball court", "tennis court", "baseball diamond")


@dataclass(frozen=True, slots=True)
class Scene:
    """Classes that an image shows, and classes that it doesn't."""

    there: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def told(self, sample: Sample) -> Sample:
        """A sample that says so."""
        return replace(sample, there=self.there, missing=self.missing)


AIRPORT = Scene(("airplane",), ("ship", "harbor", *_OPEN_GROUND, "windmill", "dam", "container crane", "golf course"))
"""Of GDIT's airports: windows around an airplane of airfields without water."""
PORT = Scene(("ship",), ("vehicle", "tennis court", "basketball court", "helicopter", "helipad", "toll station"))
"""Of a port at 10 m a pixel, at which nothing of a car's or a court's size can be seen."""
AID = {
    "StorageTanks": Scene(("storage tank",), ("airplane", "tennis court", "baseball diamond", "helicopter", "helipad")),
    "Stadium": Scene((), ("airplane", "ship", "storage tank", "harbor", "helicopter", "windmill", "dam")),
    "Viaduct": Scene(
        ("vehicle",), ("airplane", "storage tank", "baseball diamond", "harbor", "helicopter", "windmill")
    ),
    "Square": Scene((), ("airplane", "ship", "storage tank", "harbor", "baseball diamond", "helicopter", "windmill")),
}
"""Of AID's scenes by folder, those of RSICD's validation part."""

_UCM_LABELS = {
    "airplane": "airplane", "cars": "vehicle", "court": "tennis court", "dock": "harbor", "ship": "ship",
    "tanks": "storage tank",
}  # fmt: skip
_UCM_BRIDGES = ("overpass", "freeway", "river", "intersection", "harbor")
_UCM_FIELDS = ("denseresidential", "mediumresidential", "sparseresidential", "buildings", "golfcourse")


def ucm_scenes(path: Path) -> dict[str, Scene]:
    """UC Merced's images by name ("airplane00"), from the multi-label table of Chaudhuri et al. (2018).

    Baseball diamonds, which the table doesn't know, go by the scene class.

    Args:
        path: ``LandUse_Multilabeled.txt``: tab-separated, a header, then an image a line with 0 or 1 for each label.

    Raises:
        EntryError: If the table is another.
        OSError: If it can't be read.
    """
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    except UnicodeDecodeError as error:
        raise EntryError(f"{path.name} is no text in UTF-8", "take the table of UC Merced's 17 labels") from error
    labels = head.split("\t")[1:]
    if missing := _UCM_LABELS.keys() - set(labels):
        raise EntryError(f"{path.name} has no column {min(missing)!r}", "take the table of UC Merced's 17 labels")
    scenes = {}
    for number, line in enumerate(filter(str.strip, lines), start=2):
        name, *values = line.split("\t")
        if len(values) != len(labels) or set(values) - {"0", "1"}:
            raise EntryError(f"{path.name} line {number} is no row of {len(labels)} zeros and ones", "")
        scenes[name] = _ucm_scene(name, dict(zip(labels, values, strict=True)))
    return scenes


def _ucm_scene(name: str, labels: dict[str, str]) -> Scene:
    kind = re.sub(r"\d+$", "", name)
    there = [ours for theirs, ours in _UCM_LABELS.items() if labels[theirs] == "1"]
    missing = [ours for theirs, ours in _UCM_LABELS.items() if labels[theirs] == "0"]
    missing += ["basketball court"] if labels["court"] == "0" else []
    missing += ["ground track field"]
    missing += ["bridge"] if kind not in _UCM_BRIDGES else []
    if kind == "baseballdiamond":
        there.append("baseball diamond")
    elif kind not in _UCM_FIELDS:
        missing.append("baseball diamond")
    missing += [other for other in ABSENT_CANDIDATES if other != "golf course" or kind != "golfcourse"]
    return Scene(tuple(there), tuple(missing))
