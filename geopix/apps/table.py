"""``geopix table``: a table of the paper, for a model or for anyone's answers, with intervals (§V)."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from geopix.apps import show
from geopix.apps.errors import complain
from geopix.apps.judging import judging

if TYPE_CHECKING:
    from geopix.apps.judging import Asked as JudgeAsked
    from geopix.evaluate.answers import Given
    from geopix.evaluate.judge import Judge
    from geopix.evaluate.table import Row, Table
    from geopix.records import Image, Turn

TABLES = {
    2: "a set in numbers", 3: "segmentation of several objects", 4: "answers in words",
    5: "answers in words, zero-shot", 6: "captions, zero-shot", 7: "captions", 8: "boxes for phrases",
}  # fmt: skip
IN_WORDS = (4, 5, 6, 7)


class TableCommandError(ValueError):
    """A table that can't be made, with the sentence for the user."""


@dataclass(frozen=True)
class _Item:
    """A question of any table, as far as asking it goes."""

    id: str
    question: str
    size_hw: tuple[int, int]
    pixels: Callable[[], Image]
    true: Turn | None = None
    """The same with the true words, where a table also wants what is drawn once they are given."""


@dataclass(frozen=True)
class _Asking:
    """What a table asks, and how answers become its rows."""

    items: tuple[_Item, ...]
    told: str
    columns: tuple[str, ...]
    rows: Callable[[Callable[[str], Given]], tuple[tuple[Row, ...], str]]
    leak: str
    notes: dict[str, str] = field(default_factory=dict)
    """More lines of the footer; those of what is known only after scoring come with the rows."""
    drawn: dict[str, Given] = field(default_factory=dict)
    """What was drawn with the true words given, once it was asked."""


def run(
    number: int,
    data: Path,
    *,
    model: str,
    device: str,
    predictions: Path | None,
    questions: Path | None,
    limit: int | None,
    outputs: Sequence[Path],
    overwrite: bool,
    judge: JudgeAsked | None = None,
) -> None:
    """Ask or read answers, score them, print the table, and write it to every file that is named.

    Raises:
        TableCommandError: If the table can't be made, or an output can't be written.
        ValueError: If the data, the model or the answers can't be used.
        OSError: If a file can't be read or written.
    """
    if number not in TABLES:
        raise TableCommandError(f"there is no table {number}; the paper has 1 to 11")
    check_outputs(outputs, overwrite)
    if questions is not None and (questions.exists() or not questions.parent.is_dir()):
        raise TableCommandError(f"{questions} is no new folder in a folder that is there; name another one")
    if number == 2:
        if judge or predictions or questions or limit:
            raise TableCommandError("table 2 counts a set and asks nobody; give it nothing but --data and -o")
        from geopix.evaluate.counted import set_table

        with show.watched() as watch:
            made = set_table(data, TABLES[2], watch)
        give(made, outputs)
        return
    if judge is not None and (number not in IN_WORDS or questions is not None):
        raise TableCommandError("no judge is asked here; leave --judge out")
    with show.quiet_stdout(), judging(judge, meet=predictions is None) as decider:
        from geopix.evaluate.paper import paper_table
        from geopix.evaluate.table import Table

        asking = _of_words(number, data, limit, decider) if number in IN_WORDS else _of_probes(number, data, limit)
        if questions is not None:
            _write_questions(asking.items, questions)
            return
        problems: Counter[str] = Counter()
        if predictions is None:
            answer_of, who = _asked(asking, model, device, problems)
        else:
            answer_of, who, problems = _read(asking.items, predictions)
        rows, protocol = asking.rows(answer_of)
    footer = {
        "protocol": protocol,
        "questions": asking.told,
        "answers": who,
        "left out": "; ".join(f"{n:,} {what}" for what, n in sorted(problems.items())) or "nothing",
        "leak check": asking.leak,
        **asking.notes,
    }
    made = Table(number, TABLES[number], asking.columns, rows, footer, paper_table(number))
    give(made, outputs)


def compare(first: Path, second: Path, outputs: Sequence[Path], overwrite: bool) -> None:
    """Print paired differences of two tables' JSON.

    Raises:
        ValueError: If one is no table, or they can't be compared.
        OSError: If a file can't be read or written.
    """
    from geopix.evaluate import table

    check_outputs(outputs, overwrite)
    give(table.compare(table.read(first), table.read(second)), outputs)


def _of_probes(number: int, data: Path, limit: int | None) -> _Asking:
    from geopix.evaluate import grounding, segmentation
    from geopix.evaluate.leaks import leaks
    from geopix.evaluate.probes import probes

    found = probes(data, ("referred", "all", "absent") if number == 3 else ("box",), limit)
    twins, leak = leaks(found.training, found.evaluated)
    drawn: dict[str, Given] = {}

    def rows(answer_of: Callable[[str], Given]) -> tuple[tuple[Row, ...], str]:
        if number == 8:
            boxes = grounding.Tally(twins)
            for probe in found.asked:
                boxes.add(probe, answer_of(probe.id))
            return boxes.rows(), grounding.PROTOCOL
        masks = segmentation.Tally(twins)
        for probe in found.asked:
            masks.add(probe, answer_of(probe.id), drawn.get(probe.id))
        return masks.rows(), segmentation.PROTOCOL

    items = tuple(
        _Item(one.id, one.question, one.size_hw, one.pixels, one.turn() if one.truth else None) for one in found.asked
    )
    columns = segmentation.PROTOCOLS if number == 3 else grounding.COLUMNS
    return _Asking(items, str(found), columns, rows, leak, drawn=drawn)


def _of_words(number: int, data: Path, limit: int | None, judge: Judge | None) -> _Asking:
    from geopix.apps.table_words import Words, pixels
    from geopix.evaluate.answers import NOTHING

    words, notes = Words.of(number, data, limit), dict[str, str]()

    def rows(answer_of: Callable[[str], Given]) -> tuple[tuple[Row, ...], str]:
        given = {one.id: answer_of(one.id) for one in words.asked}
        said = {key: one.text for key, one in given.items() if one is not NOTHING}
        made, protocol, told = words.scored(said, judge)
        notes.update(told)
        return made, protocol

    items = tuple(
        _Item(one.id, one.question, words.sizes[one.image], partial(pixels, one.image)) for one in words.asked
    )
    return _Asking(items, words.told, words.columns, rows, words.leak, notes)


def _asked(asking: _Asking, model: str, device: str, problems: Counter[str]) -> tuple[Callable[[str], Given], str]:
    from geopix import assistant
    from geopix.checkpoint.nano import NANO
    from geopix.checkpoint.open import find
    from geopix.evaluate.answers import given
    from geopix.evaluate.probes import batched

    guide = assistant.load(model, device)
    folder = NANO if model == "nano" else find(model)
    who = f"{model}, sha256 {_sha256(folder)[:16]}"
    found: dict[str, Given] = {}
    try:
        with show.counting("asking", len(asking.items)) as moved:
            for batch in batched(asking.items, 64):
                pixels = [item.pixels() for item in batch]
                told = [(place, item.true) for place, item in enumerate(batch) if item.true is not None]
                images = [*pixels, *(pixels[place] for place, _ in told)]
                asked: list[str | Turn] = [*(item.question for item in batch), *(turn for _, turn in told)]
                for place, answer in guide.ask_each(images, asked):
                    if place < len(batch):
                        found[batch[place].id] = given(answer, problems)
                    else:
                        asking.drawn[batch[told[place - len(batch)][0]].id] = given(answer, problems)
                    moved(len(found))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "stopped before every question was asked, nothing was written; --limit asks fewer questions"
        ) from None
    return found.__getitem__, who


def _read(items: Sequence[_Item], path: Path) -> tuple[Callable[[str], Given], str, Counter[str]]:
    from geopix.evaluate.answers import Answers

    found = Answers(path, {item.id: item.size_hw for item in items})
    names = ", ".join(f"{name} ({n:,})" for name, n in found.models.most_common(3))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return found.of, f"{names}, from {path.name}, sha256 {digest[:16]}", found.problems


def _write_questions(items: Sequence[_Item], folder: Path) -> None:
    """What the table asks, for any system: questions.jsonl as geopix predict reads it, and the pictures beside it."""
    from PIL import Image as Pillow

    with tempfile.TemporaryDirectory(prefix=".questions.", dir=folder.parent) as made:
        staging = Path(made) / "whole"
        (staging / "images").mkdir(parents=True)
        lines = []
        with show.counting("writing", len(items)) as moved:
            for place, item in enumerate(items, start=1):
                name = f"images/{place:06d}.png"
                Pillow.fromarray(item.pixels()).save(staging / name)
                lines.append(json.dumps({"id": item.id, "image": name, "question": item.question}) + "\n")
                moved(place)
        (staging / "questions.jsonl").write_text("".join(lines), encoding="utf-8")
        staging.rename(folder)
    complain(f"wrote {len(items):,} questions to {folder / 'questions.jsonl'}")


def _sha256(folder: Path) -> str:
    """Of a model's files, names and all."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".json"):
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def check_outputs(outputs: Sequence[Path], overwrite: bool) -> None:
    """Whether a table can be written to each.

    Raises:
        TableCommandError: If not.
    """
    from geopix.evaluate.table import SUFFIXES

    for path in outputs:
        if path.suffix not in SUFFIXES:
            raise TableCommandError(f"{path} is no name for a table; end it in {', '.join(SUFFIXES)}")
        if path.is_dir() or (path.exists() and not overwrite):
            raise TableCommandError(f"{path} is there already; name another file, or add --overwrite")
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise TableCommandError(f"{path.parent} is no folder that can be written to; make it first")


def give(made: Table, outputs: Sequence[Path]) -> None:
    """Print a table, and write it to every file that is named."""
    from geopix.evaluate.table import write

    console = show.paper(200)
    for title, (head, *body) in _parts(made):
        console.print(show.plain(title))
        show.rows(console, head, body)
    for name, text in made.footer.items():
        console.print(show.plain(f"{name}: {text}"))
    for path in outputs:
        write(made, path)
        complain(f"wrote {path}")


def _parts(made: Table) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    yield f"Table {made.number}: {made.title}", list(made.lines())
    if made.paper is not None:
        yield f"The paper's rows ({made.paper.title})", list(made.paper.lines())
