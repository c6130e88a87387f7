"""What is asked for Tables IV to VII: questions and captions with their types, straight from the benchmarks' files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from geopix.assistant import MAX_QUESTION
from geopix.data.entries import EntryError
from geopix.data.foreign.found import MALFORMED, required, skipped, unwatched
from geopix.data.foreign.jsonstream import items
from geopix.data.foreign.pictures import Pictures, image_size
from geopix.data.foreign.words import text
from geopix.records import Split

T = TypeVar("T")

CAPTION = "Describe the image in detail."
"""The instruction that the paper gives every model (§V-D)."""
VRSBENCH_TYPES = {
    "object category": "category", "object existence": "presence", "object quantity": "quantity",
    "object color": "color", "object shape": "shape", "object size": "size", "object position": "position",
    "object direction": "direction", "scene type": "scene", "image": "scene", "rural or urban": "scene",
    "reasoning": "reasoning",
}  # fmt: skip
"""VRSBench's twelve question types and the column of Table IV that each belongs to."""
RSIEVAL_TYPES = {
    "presence": "presence", "quantity": "quantity", "color": "color", "absolute position": "absolute position",
    "absolute pos": "absolute position", "relative position": "relative position", "relative pos": "relative position",
    "area comparison": "area comparison", "area comp": "area comparison", "road direction": "road direction",
    "road dir": "road direction", "image": "image", "scene": "scene", "reasoning": "reasoning",
    "ab position": "absolute position", "re position": "relative position", "road ori": "road direction",
}  # fmt: skip
"""RSIEval's types, whole, as Table V shortens them, or as the file does, and their columns there."""
UCM_TYPES = {"what is the theme": "scene", "does this": "presence", "how many": "quantity", "": "position"}
"""How the questions about UC Merced begin, and the columns of Table IV that they belong to."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about one image.

    Args:
        id: Unique in its list, and the same from run to run.
        image_key: What a bootstrap draws.
        image: The image's file.
        kind: The table's column, or what the source calls the type where there is none; "caption" of captions.
        question: As the model is asked.
        answers: What is true; of captions one or more references.
    """

    id: str
    image_key: str
    image: Path
    kind: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Questions:
    """A list of questions, and what was left out of it.

    Args:
        name: The data set with its split.
        asked: In the order of the files.
        left_out: For every reason how many rows; an image that is missing counts once for each row about it.
        sha256: Of the files that it was read from.
    """

    name: str
    asked: tuple[Asked, ...]
    left_out: Mapping[str, int]
    sha256: str

    def __str__(self) -> str:
        images = len({one.image_key for one in self.asked})
        told = f"{self.name}: {len(self.asked):,} questions about {images:,} images"
        if self.left_out:
            told += "; left out: " + ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        return told


_Row = tuple[str, dict[str, Any]]


def vrsbench_vqa(folder: Path) -> Questions:
    """Table IV: the rows of ``VRSBench_EVAL_vqa.json``, which are through the benchmark's filter.

    Raises:
        EntryError: If the file is missing or broken, or not one question can be asked.
        OSError: If it can't be read.
    """
    images = _Images("vrsbench", folder, "Images_val", "Images_train", "")

    def make(row: dict[str, Any], number: str) -> Asked:
        kind = text(row["type"]).lower()
        return Asked(
            f"vrsbench/{row.get('question_id', number)}", *images(row["image_id"]),
            VRSBENCH_TYPES.get(kind, kind), text(row["question"]), (text(row["ground_truth"]),),
        )  # fmt: skip

    path = folder / "VRSBench_EVAL_vqa.json"
    return gather("VRSBench, questions", [path], _rows(path), make)


def rsieval_vqa(folder: Path) -> Questions:
    """Table V: the questions of RSIEval's ``annotations.json``; the full stops that its answers end in are left out.

    Raises:
        EntryError: If the file is missing or broken, or not one question can be asked.
        OSError: If it can't be read.
    """
    images = _Images("rsieval", folder / "images")
    path = folder / "annotations.json"

    def rows() -> Iterator[_Row]:
        for number, row in _rows(path):
            for place, pair in enumerate(row.get("qa_pairs") or (), start=1):
                yield f"{number}.{place}", {"filename": row.get("filename"), "pair": pair}

    def make(row: dict[str, Any], number: str) -> Asked:
        pair = row["pair"]
        kind = " ".join(text(pair["type"]).lower().replace("_", " ").strip(".").split())
        return Asked(
            f"rsieval/{number}", *images(row["filename"]), RSIEVAL_TYPES.get(kind, kind),
            text(pair["question"]), (text(text(pair["answer"]).rstrip(" .")),),
        )  # fmt: skip

    return gather("RSIEval, questions", [path], rows(), make)


def ucm_vqa(folder: Path, split: Split = "val") -> Questions:
    """Table IV's task on UC Merced: the questions of RSIVQA about one split's images.

    A split is that of the captions. Questions whose noun stayed empty ("How many  in the picture?") are left out.

    Raises:
        EntryError: If a file is missing or broken, or not one question can be asked.
        OSError: If one can't be read.
    """
    images = _Images("ucm", folder)
    paths = [folder / "captions.json", folder / "vqa.json"]
    inside = {row["image"] for _, row in _rows(paths[0]) if row.get("split") == split}

    def make(row: dict[str, Any], number: str) -> Asked:
        if text(row["question"]) != row["question"]:
            raise EntryError("question with a gap", repr(row["question"]))
        asked = text(row["question"])
        column = next(name for begin, name in UCM_TYPES.items() if asked.lower().startswith(begin))
        return Asked(f"ucm/{number}", *images(row["image"]), column, asked, (text(row["answer"]),))

    rows = ((number, row) for number, row in _rows(paths[1]) if row.get("image") in inside)
    return gather(f"UC Merced {split}, questions", paths, rows, make)


def vrsbench_captions(folder: Path) -> Questions:
    """Table VII: the captions of ``VRSBench_EVAL_Cap.json``, one an image.

    Raises:
        EntryError: If the file is missing or broken, or not one image can be asked about.
        OSError: If it can't be read.
    """
    images = _Images("vrsbench", folder, "Images_val", "Images_train", "")
    path = folder / "VRSBench_EVAL_Cap.json"

    def make(row: dict[str, Any], number: str) -> Asked:
        key, image = images(row["image_id"])
        identity = f"vrsbench/{row.get('question_id', number)}"
        return Asked(identity, key, image, "caption", CAPTION, (text(row["ground_truth"]),))

    return gather("VRSBench, captions", [path], _rows(path), make)


def rsieval_captions(folder: Path) -> Questions:
    """Table VI: the captions of RSIEval, one an image.

    Raises:
        EntryError: If the file is missing or broken, or not one image can be asked about.
        OSError: If it can't be read.
    """
    images = _Images("rsieval", folder / "images")
    path = folder / "annotations.json"

    def make(row: dict[str, Any], number: str) -> Asked:
        key, image = images(row["filename"])
        return Asked(f"rsieval/{number}", key, image, "caption", CAPTION, (text(row["caption"]),))

    return gather("RSIEval, captions", [path], _rows(path), make)


def ucm_captions(folder: Path, split: Split = "val") -> Questions:
    """Table VII's task on UC Merced: five captions an image, repeated ones kept, as the field scores them.

    Raises:
        EntryError: If the file is missing or broken, or not one image can be asked about.
        OSError: If it can't be read.
    """
    images = _Images("ucm", folder)
    path = folder / "captions.json"

    def make(row: dict[str, Any], number: str) -> Asked:
        key, image = images(row["image"])
        captions = tuple(map(text, row["captions"]))
        if not captions:
            raise EntryError("image without a caption", key)
        return Asked(f"ucm/{number}", key, image, "caption", CAPTION, captions)

    rows = ((number, row) for number, row in _rows(path) if row.get("split") == split)
    return gather(f"UC Merced {split}, captions", [path], rows, make)


def _rows(path: Path) -> Iterator[_Row]:
    for number, (kind, row) in enumerate(items(required(path), unwatched), start=1):
        if kind in ("", "annotations"):
            yield str(number), row if isinstance(row, dict) else {}


class _Images:
    """Finds the images that rows are about; each is looked for once."""

    def __init__(self, name: str, root: Path, *folders: str) -> None:
        self.name, self.pictures = name, Pictures(root, folders or ("",))
        self.known: dict[str, Path] = {}

    def __call__(self, told: Any) -> tuple[str, Path]:
        """The key and the file of an image that is there."""
        name = text(told)
        if name not in self.known:
            path = self.pictures.root / self.pictures.find(name)
            image_size(path)
            self.known[name] = path
        return f"{self.name}/{name}", self.known[name]


def gather(name: str, paths: list[Path], rows: Iterable[tuple[str, T]], make: Callable[[T, str], Asked]) -> Questions:
    """What rows ask, and what was left out of them.

    Args:
        name: The data set with its split.
        paths: The files that the rows come from, for their hash.
        rows: Each with its number in them.
        make: A question of a row and its number; an error leaves the row out and is counted.

    Raises:
        EntryError: If not one question can be asked.
        OSError: If a file can't be read.
    """
    asked: dict[str, Asked] = {}
    left_out: Counter[str] = Counter()
    example = ""
    for number, row in rows:
        try:
            one = make(row, number)
            if one.id in asked:
                raise EntryError("duplicate id", one.id)
            readable(one.question)
            asked[one.id] = one
        except MALFORMED as error:
            reason = skipped(error, f"{name} row {number}")
            left_out[reason.reason] += 1
            example = example or reason.detail
    if not asked:
        told = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items()) or "there are no rows"
        raise EntryError(f"{name}: nothing can be asked", f"{told}; {example or paths[0]}".rstrip("; "))
    return Questions(name, tuple(asked.values()), dict(left_out), _sha256(paths))


def readable(question: str) -> str:
    """The question as it is.

    Raises:
        EntryError: If it is longer than any that is read.
    """
    if len(question) > MAX_QUESTION:
        raise EntryError("question too long", f"{len(question):,} characters, at most {MAX_QUESTION:,}")
    return question


def _sha256(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
