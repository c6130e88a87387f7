"""What Tables III and VIII ask, and the truth: of NWPU VHR-10, of any set of ours, of VRSBench (§V-B, §V-E)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from geopix.classes import UNKNOWN
from geopix.data.entries import ABOUT, EntryError, SetReader
from geopix.data.facts import in_a_question
from geopix.data.foreign.found import MALFORMED, skipped
from geopix.data.foreign.grid import hull
from geopix.data.foreign.jsonstream import items
from geopix.data.foreign.pictures import Pictures, image_size
from geopix.data.foreign.words import text
from geopix.data.sources.coco import read_splits
from geopix.dialogue import box_text, text_box
from geopix.evaluate.leaks import Files, files_named, files_of
from geopix.evaluate.probe import ASKERS, Kind, Probe, Truth, box_units
from geopix.evaluate.questions import readable
from geopix.evaluate.vhr10 import Question, questions, spread
from geopix.records import encode_mask

REFERRING = "VRSBench_EVAL_referring.json"
T = TypeVar("T")


@dataclass(frozen=True)
class Probes:
    """A list of questions.

    Args:
        name: The data set with its split.
        asked: In the order of the data.
        of: How many there are before a limit.
        left_out: Reason -> how many could not be asked.
        training: Files of the data set's own training images, for the leak check.
        evaluated: Image key -> file, of the images asked about.
    """

    name: str
    asked: tuple[Probe, ...]
    of: int
    left_out: Counter[str] = field(default_factory=Counter)
    training: Files = ()
    evaluated: Files = ()

    def __str__(self) -> str:
        images = len({probe.image_key for probe in self.asked})
        told = f"{self.name}: {len(self.asked):,} of {self.of:,} questions about {images:,} images"
        left = "; ".join(f"{n:,} not asked: {reason}" for reason, n in sorted(self.left_out.items()))
        return f"{told}{'; ' if left else ''}{left}; sha256 {self.fingerprint()[:16]}"

    def fingerprint(self) -> str:
        """A hash of all that is asked and of all that is true; of pictures their sizes."""
        digest = hashlib.sha256()
        for one in self.asked:
            truth = [[true.class_name, true.counts] for true in one.truth]
            told = [one.id, one.kind, one.question, one.answer, one.size_hw, truth, one.box, one.units, one.unique]
            digest.update(json.dumps(told).encode())
        return digest.hexdigest()


def probes(data: Path, kinds: Sequence[Kind], limit: int | None = None) -> Probes:
    """The questions of a folder, whatever it holds: nwpu_vhr10, a set of ours, or VRSBench's referring file.

    Args:
        data: The folder.
        kinds: Those that the table is about.
        limit: At most so many, spread evenly over kinds and images.

    Raises:
        EntryError: If it holds none of these, or no question of these kinds.
        OSError: If a file can't be read.
    """
    if (data / ABOUT).is_file():
        found = _of_set(data, kinds)
    elif (data / REFERRING).is_file() and "box" in kinds:
        found = _of_vrsbench(data)
    elif (data / "nwpu_vhr10" / "annotations.json").is_file():
        found = _of_vhr10(data, kinds)
    else:
        raise EntryError(
            f"{data} holds nothing to ask about",
            f"give a folder with nwpu_vhr10, a set made by geopix data import, or (for boxes) one with {REFERRING}",
        )
    if not found.asked:
        raise EntryError(f"{found.name} holds no question for this table", ", ".join(found.left_out) or "no objects")
    if limit is None:
        return found
    asked = tuple(spread(found.asked, limit))
    keys = {probe.image_key for probe in asked}
    evaluated = tuple(pair for pair in found.evaluated if pair[0] in keys)
    return Probes(found.name, asked, found.of, found.left_out, found.training, evaluated)


def _of_vhr10(data: Path, kinds: Sequence[Kind]) -> Probes:
    root = data / "nwpu_vhr10"
    asked = [_of_window(question, place) for place, question in enumerate(questions(data)) if question.kind in kinds]
    splits = read_splits(root / "split.json") or {}
    train, val = (
        files_named("nwpu_vhr10", root / "images", [name for name, split in splits.items() if split == wanted])
        for wanted in ("train", "val")
    )
    return Probes("NWPU VHR-10, val", tuple(asked), len(asked), Counter(), train, val)


def _of_window(question: Question, place: int) -> Probe:
    window, turn = question.window, question.turn
    box, units, unique = None, None, None
    if question.kind == "box":
        written = text_box(turn.answer, window.size_hw)
        meant = next(
            (one for one in window.instances if box_text(one.box_xyxy_px, window.size_hw) in turn.answer), None
        )
        if meant is None or written is None:
            raise EntryError("a question about a box without its object", question.image_key)
        box, units = meant.box_xyxy_px, box_units(written, window.size_hw)
        unique = sum(one.class_name == meant.class_name for one in window.instances) == 1
    masks = [(window.instances[index].class_name, window.instances[index].mask) for index in turn.targets]
    truth = tuple(Truth(name, encode_mask(mask)["counts"]) for name, mask in masks if mask is not None)
    kind: Any = question.kind
    return Probe(
        f"{question.image_key}/{place}/{kind}", question.image_key, kind, turn.question, window.size_hw, window.image,
        turn.answer, truth, box, units, unique,
    )  # fmt: skip


def _of_set(folder: Path, kinds: Sequence[Kind]) -> Probes:
    """Of a set's evaluation part: its images split "val", or "test" where there are none."""
    reader = SetReader(folder)
    found: dict[str, list[Probe]] = {"val": [], "test": []}
    images: dict[str, list[tuple[str, Path]]] = {"train": [], "val": [], "test": []}
    left_out: dict[str, Counter[str]] = {"val": Counter(), "test": Counter()}
    annotated: dict[str, set[str]] = defaultdict(set)  # nobody looked for other classes in a subset
    entries = []
    for entry in reader:
        images[entry.split].append((entry.key, reader.images / entry.image))
        annotated[entry.subset].update({one.class_name for one in entry.objects} - {UNKNOWN})
        if entry.split != "train":
            entries.append(entry)
    for entry in entries:
        for kind in kinds:
            made = ASKERS[kind](entry, reader.images / entry.image, annotated[entry.subset])
            found[entry.split] += made
            if not made:
                left_out[entry.split][f"no object that kind {kind!r} can ask for"] += 1
    split = "val" if found["val"] else "test"
    name = f"{reader.about.name}, {split}"
    asked = tuple(found[split])
    return Probes(name, asked, len(asked), left_out[split], tuple(images["train"]), tuple(images[split]))


def _of_vrsbench(folder: Path) -> Probes:
    """Table VIII's own questions; corners truncated to whole hundredths, as the benchmark does it."""
    pictures, left_out = Pictures(folder, ("Images_val", "Images_train", "")), Counter[str]()
    asked, evaluated, n = [], dict[str, Path](), 0
    for n, (_, row) in enumerate(items(folder / REFERRING, lambda *_: None), start=1):
        try:
            path = folder / pictures.find(text(row["image_id"]))
            box = hull(row["obj_corner"], (100, 100))
            units = (int(box[0]), int(box[1]), int(box[2]), int(box[3]))
            said, told = row.get("is_unique", row.get("unique")), text(row["question"])
            size_hw = image_size(path)
            height, width = size_hw
            pixels = (box[0] * width / 100, box[1] * height / 100, box[2] * width / 100, box[3] * height / 100)
            question = readable(f"[refer] Where is {in_a_question(told)}?")
            key = f"vrsbench/{path.name}"
            asked.append(
                Probe(f"{key}/{row.get('question_id', n)}", key, "box", question, size_hw, path, box=pixels,
                      units=units, unique=None if said is None else bool(said))
            )  # fmt: skip
            evaluated[key] = path
        except (*MALFORMED, OSError) as error:
            left_out[skipped(error, REFERRING).reason] += 1
    ids = Counter(probe.id for probe in asked)
    kept = tuple(probe for probe in asked if ids[probe.id] == 1)
    left_out["id that is there twice"] += len(asked) - len(kept)
    training = tuple(files_of(folder / "Images_train"))
    return Probes("VRSBench, referring", kept, n, +left_out, training, tuple(evaluated.items()))


def batched(asked: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """A list in pieces of at most ``size``, in order."""
    for start in range(0, len(asked), size):
        yield asked[start : start + size]
