"""What Tables IV to VII ask of a folder: the benchmark in it, UC Merced in its place, or a set of ours (§V-C, §V-D)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from geopix.data.entries import ABOUT, ENTRIES, Entry, EntryError, SetReader
from geopix.data.foreign.found import Watch, unwatched
from geopix.data.foreign.jsonstream import items
from geopix.data.foreign.pictures import image_size
from geopix.data.foreign.words import text
from geopix.evaluate import questions
from geopix.evaluate.leaks import Files, files_named, files_of
from geopix.evaluate.questions import CAPTION, Asked, Questions, gather
from geopix.evaluate.vqa import TABLE_4, TABLE_4_UCM, TABLE_5

TABLES: Final = (4, 5, 6, 7)
VQA: Final = (4, 5)
"""Those of them that ask questions; the others ask for captions."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table's questions.

    Args:
        whole: All of them.
        kinds: The table's rows; none where the source does not tell what kind a question is.
        training: Key and file of the source's own training images, for the leak check.
    """

    whole: Questions
    kinds: tuple[str, ...]
    training: Files


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a benchmark lies: a folder of this name, or the folder itself; known by its file."""

    name: str
    file: str
    read: Callable[[Path], Questions]
    kinds: tuple[str, ...]
    training: Callable[[Path], Files]


def sheet(number: int, data: Path, watch: Watch = unwatched) -> Sheet:
    """What a table asks of a folder.

    Args:
        number: One of `TABLES`.
        data: A set of ours; or a folder with the benchmark, or (4, 7) with UC Merced, or one of these itself.
        watch: Told how far the reading is.

    Raises:
        EntryError: If the folder holds none of these, or nothing that can be asked.
        OSError: If a file can't be read.
    """
    if (data / ABOUT).is_file():
        return _of_set(data, number in VQA, watch)
    for home in _HOMES[number]:
        for folder in (data / home.name, data):
            if (folder / home.file).is_file():
                return Sheet(home.read(folder), home.kinds, home.training(folder))
    wanted = " or ".join(f"{home.name}/{home.file}" for home in _HOMES[number])
    raise EntryError(
        f"{data} holds nothing that table {number} could ask", f"it needs {wanted}, or be a set of geopix data import"
    )


def _of_set(folder: Path, vqa: bool, watch: Watch) -> Sheet:
    """Of a set's evaluation part: its images split "val", or "test" where none of these is asked about."""
    reader = SetReader(folder)
    rows: dict[str, list[tuple[str, tuple[Entry, str, str]]]] = defaultdict(list)
    training: list[tuple[str, Path]] = []
    total = reader.about.counts.get("images", 0)
    for done, entry in enumerate(reader, start=1):
        if entry.split == "train":
            training.append((entry.key, reader.images / entry.image))
        elif vqa:
            told = [(turn.question, turn.answer) for turn in entry.turns if turn.task == "vqa"]
            rows[entry.split] += [(f"question {n}", (entry, *pair)) for n, pair in enumerate(told, start=1)]
        elif entry.captions:
            rows[entry.split].append(("caption", (entry, CAPTION, "")))
        if done % 500 == 0:
            watch("reading the set", done, max(total, done))
    split = "val" if rows["val"] else "test"

    def make(row: tuple[Entry, str, str], number: str) -> Asked:
        entry, question, answer = row
        image = reader.images / entry.image
        if image_size(image) != entry.size_hw:
            raise EntryError("image of another size", entry.key)
        answers = (text(text(answer).rstrip(" .")),) if vqa else tuple(map(text, entry.captions))
        kind = "of no kind that the set tells" if vqa else "caption"
        return Asked(f"{entry.key}/{number}", entry.key, image, kind, text(question), answers)

    name = f"{reader.about.name} {split}, {'questions' if vqa else 'captions'}"
    return Sheet(gather(name, [folder / ENTRIES], rows[split], make), (), tuple(training))


def _ucm_training(folder: Path) -> Files:
    rows = (row for _, row in items(folder / "captions.json", unwatched) if isinstance(row, dict))
    return files_named("ucm", folder, (row.get("image") for row in rows if row.get("split") == "train"))


def _vrsbench_training(folder: Path) -> Files:
    return files_of(folder / "Images_train")


def _rsieval_training(folder: Path) -> Files:
    return ()  # it has none: a hundred images to be asked about


_RSIEVAL = "annotations.json"
_HOMES: Final = {
    4: (
        _Home("vrsbench", "VRSBench_EVAL_vqa.json", questions.vrsbench_vqa, TABLE_4, _vrsbench_training),
        _Home("ucm", "vqa.json", questions.ucm_vqa, TABLE_4_UCM, _ucm_training),
    ),
    5: (_Home("rsieval", _RSIEVAL, questions.rsieval_vqa, TABLE_5, _rsieval_training),),
    6: (_Home("rsieval", _RSIEVAL, questions.rsieval_captions, (), _rsieval_training),),
    7: (
        _Home("vrsbench", "VRSBench_EVAL_Cap.json", questions.vrsbench_captions, (), _vrsbench_training),
        _Home("ucm", "captions.json", questions.ucm_captions, (), _ucm_training),
    ),
}
