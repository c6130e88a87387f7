"""What happens to one image on its way into the set: checked, filtered, joined or cut, finished (§IV-A to §IV-C)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from geopix.data.assembly import cut
from geopix.data.assembly.join import joined
from geopix.data.assembly.recipe import Recipe, Source
from geopix.data.entries import Entry, EntryError, SetReader, checked
from geopix.data.verify.check import check_entry
from geopix.data.writing import to_line


@dataclass(slots=True)
class Tally:
    """Numbers of what came through, and of what was left out by its reason."""

    counts: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: Tally) -> Tally:
        self.counts.update(other.counts)
        self.skipped.update(other.skipped)
        return self


Step: TypeAlias = Callable[[Entry, Tally], Entry | None]
"""Done to every image that stays, whole or window, before it is written: arrangement, description, verification.
It may change the entry, or leave it out with None and a reason in the tally. A function that a new process can import,
and that gives the same for the same entry."""


def verified(entry: Entry, tally: Tally, drop: bool) -> Entry:
    """The step that holds every description against all boxes of its image (`Recipe.verify`)."""
    kept: list[list[str]] = [[] for _ in entry.objects]
    for index, _, text, verdict in check_entry(entry):
        tally.counts[f"descriptions: {verdict.outcome}"] += 1
        if drop and verdict.outcome in ("ambiguous", "false"):
            tally.skipped[f"description: {verdict.outcome}"] += 1
        else:
            kept[index].append(text)
    objects = (replace(one, descriptions=tuple(texts)) for one, texts in zip(entry.objects, kept, strict=True))
    return replace(entry, objects=tuple(objects))


@dataclass(frozen=True, slots=True)
class Job:
    """What all batches of a set have in common.

    Args:
        recipe: The whole of it.
        source: The set that the batches come from.
        folder: Where that set lies.
        pictures: Where the new set's images will be.
        steps: Done to every image that stays, in order.
    """

    recipe: Recipe
    source: Source
    folder: Path
    pictures: Path
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """An entry that is still text, counted from 0, with those that describe the same image (from the joined set)."""

    number: int
    text: bytes
    partners: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """A batch's entries as lines, and their numbers; ``n_read`` is how many went in."""

    lines: str
    n_read: int
    n_entries: int
    n_objects: int
    tally: Tally


def work(job: Job, batch: Sequence[Line]) -> Done:
    """Do a batch of entries of one set.

    Raises:
        EntryError: If a line is no entry; a bad object or image is counted instead.
    """
    reader, tally, lines, n_objects = SetReader(job.folder), Tally(), [], 0
    for line in batch:
        entry = reader.entry(line.text, line.number)
        partners = [reader.entry(text, line.number) for text in line.partners]
        for made in _kept(entry, partners, job, reader.images, tally):
            finished = _finished(made, job.steps, tally)
            if finished is not None:
                lines.append(to_line(finished))
                n_objects += len(finished.objects)
    return Done("".join(lines), len(batch), len(lines), n_objects, tally)


def _kept(entry: Entry, partners: Sequence[Entry], job: Job, images: Path, tally: Tally) -> list[Entry]:
    """An image whole, as windows, or not at all."""
    recipe, rule, join = job.recipe, job.recipe.windows, job.source.join
    tally.counts["read: images"] += 1
    tally.counts["read: objects"] += len(entry.objects)
    entry = replace(_checked(entry, tally), subset=job.source.subset)
    large = rule is not None and max(entry.size_hw) > rule.larger_than
    reason = "too large to be kept whole" if large else cut.refused(entry.objects, recipe.filter)
    if reason is None:
        if join is not None:
            entry, told = joined(entry, partners, join)
            tally.counts += told
            if not entry.objects:
                tally.skipped["image: no object with a description"] += 1
                return []
        tally.counts["images whole"] += 1
        return [replace(entry, image=f"{job.source.subset}/whole/{entry.image}")]
    if rule is None or not entry.objects or not (large or rule.crowded):
        tally.skipped[f"image: {reason}"] += 1
        return []
    try:
        return _windows(entry, job, images, tally, f"image: {reason}, and no window that passes")
    except EntryError as error:
        tally.skipped[f"image: {error.reason}"] += 1
        return []


def _checked(entry: Entry, tally: Tally) -> Entry:
    """The entry without objects that do not fit it; then it no longer has all that is in the image."""
    fitting = []
    for one in entry.objects:
        try:
            fitting.append(checked(one, entry.size_hw))
        except EntryError as error:
            tally.skipped[f"object: {error.reason}"] += 1
    complete = entry.complete and len(fitting) == len(entry.objects)
    return replace(entry, objects=tuple(fitting), complete=complete)


def _windows(entry: Entry, job: Job, images: Path, tally: Tally, otherwise: str) -> list[Entry]:
    """The windows of an image, their pictures written."""
    assert job.recipe.windows is not None
    found = cut.windows(entry, job.recipe.windows, job.recipe.filter)
    if not found:
        tally.skipped[otherwise] += 1
        return []
    made = []
    pictures = cut.pictures(images / entry.image, entry.size_hw, [window for window, _ in found])
    for (window, part), picture in zip(found, pictures, strict=True):
        name = f"{job.source.subset}/windows/{entry.image}_{'_'.join(map(str, window))}.png"
        cut.save(picture, job.pictures / name)
        made.append(replace(part, image=name))
    tally.counts["images cut into windows"] += 1
    tally.counts["windows"] += len(made)
    # They tell of the whole image: "the left ship" may be the right one of a window.
    tally.counts["descriptions lost to windows"] += sum(len(one.descriptions) for one in entry.objects)
    return made


def _finished(entry: Entry, steps: Sequence[Step], tally: Tally) -> Entry | None:
    for step in steps:
        changed = step(entry, tally)
        if changed is None:
            return None
        entry = changed
    return entry
