"""Corrections come back into the set they were made for, counted, with what a describer can learn from (§IV-C)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from geopix.data.entries import About, Annotated, Entry, EntryError, SetReader
from geopix.data.finetune import examples
from geopix.data.foreign.found import Watch, unwatched
from geopix.data.review.changes import CHANGES, Change, changes
from geopix.data.review.collecting import Collected
from geopix.data.review.corrections import VERDICTS, Correction, ReviewError, Spot, fingerprint
from geopix.data.review.picking import UNKNOWN
from geopix.data.writing import SetWriter

EXAMPLES = "finetune.jsonl"
"""Examples for fine-tuning, in the corrected set's folder."""
NOT_ALL, WRONG, NOT_TRAIN = "not every object was looked at", "an object has no right text", "not of the split train"


@dataclass(slots=True)
class Merged:
    """What people did, and what came of it.

    Args:
        texts: That the review asked about.
        verdicts: Verdict -> how many texts; "untouched" are the rest.
        by_arrangement: (arrangement, verdict) -> how many texts.
        changes: Kind of change -> how many rewritings show it; one may show several.
        examples: How many images became examples for fine-tuning.
        left_out: Reason -> how many images with corrections did not.
    """

    texts: int
    verdicts: Counter[str] = field(default_factory=Counter)
    by_arrangement: Counter[tuple[str, str]] = field(default_factory=Counter)
    changes: Counter[Change] = field(default_factory=Counter)
    examples: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def merge(
    collected: Collected, folder: Path, out: Path, *, overwrite: bool = False, watch: Watch = unwatched, step: str = ""
) -> Merged:
    """Write the set with its texts corrected, and ``finetune.jsonl`` in its folder where there are examples for it.

    Args:
        collected: What people said.
        folder: The set that they were shown.
        out: A new folder, or with ``overwrite`` a set that is replaced.
        watch: Told how far it is.
        step: The command that did it, for the set's history.

    Raises:
        EntryError: If the set can't be read or the output is taken.
        ReviewError: If the corrections are not of this version of the set, or name what is not in it.
        OSError: If something can't be read or written.
    """
    reader = SetReader(folder)
    if fingerprint(folder) != collected.header.set_sha256:
        raise ReviewError(
            f"the corrections were made for another version of the set than {folder}; give the set that was exported"
        )
    total = reader.about.counts.get("images", 0)
    merged = Merged(collected.header.texts)
    left = dict(collected.by_key)
    with SetWriter(out, overwrite) as writer, (writer.staging / EXAMPLES).open("w", encoding="ascii") as file:
        for number, entry in enumerate(reader, start=1):
            said = left.pop(entry.key, None)
            if said is None:
                writer.add(entry)
            else:
                corrected = _corrected(entry, said, merged)
                writer.add(corrected)
                for line in _examples(corrected, said, reader.images, merged):
                    file.write(line)
            watch("merging", number, max(number, total))
        if left:
            raise ReviewError(f"{next(iter(left))[:80]!r} is no image of {folder}; the corrections belong elsewhere")
        file.close()
        if not merged.examples:
            (writer.staging / EXAMPLES).unlink()
        writer.finish(_about(reader.about, out, reader.images, merged, step))
    return merged


def _corrected(entry: Entry, said: dict[Spot, Correction], merged: Merged) -> Entry:
    texts = [list(one.descriptions) for one in entry.objects]
    names = {one.class_name for one in entry.objects}
    for spot, one in said.items():
        there = texts[spot.object] if spot.object < len(texts) else None
        if there is None or spot.text >= max(len(there), 1):
            raise ReviewError(f"{spot} does not exist")
        if one.was != (there[spot.text] if there else ""):
            raise ReviewError(f"{spot} is not {one.was[:60]!r} in the set; the file was changed after it was saved")
        merged.verdicts[one.verdict] += 1
        merged.by_arrangement[entry.objects[spot.object].arrangement or UNKNOWN, one.verdict] += 1
        if one.verdict == "rewritten":
            merged.changes.update(changes(one.was, one.words, names))
    objects = tuple(_described(one, place, entry.key, said) for place, one in enumerate(entry.objects))
    return replace(entry, objects=objects)


def _described(one: Annotated, place: int, key: str, said: dict[Spot, Correction]) -> Annotated:
    texts = []
    for number, text in enumerate(one.descriptions or ("",)):
        correction = said.get(Spot(key, place, number))
        texts.append(text if correction is None else correction.words)
    return replace(one, descriptions=tuple(dict.fromkeys(filter(None, texts))))


def _examples(entry: Entry, said: dict[Spot, Correction], images: Path, merged: Merged) -> Iterator[str]:
    """The example that an image gives, where a person stands for all it says: one line or none."""
    first = [said.get(Spot(entry.key, place, 0)) for place in range(len(entry.objects))]
    if entry.split != "train":
        merged.left_out[NOT_TRAIN] += 1
    elif any(one is None for one in first):
        merged.left_out[NOT_ALL] += 1
    elif any(one is not None and one.verdict == "rejected" for one in first):
        merged.left_out[WRONG] += 1
    else:
        try:
            yield examples.line(entry, images, [one.words for one in first if one is not None])
            merged.examples += 1
        except EntryError as error:
            merged.left_out[error.reason] += 1


def _about(about: About, out: Path, images: Path, merged: Merged, step: str) -> About:
    counts = {f"texts {verdict}": merged.verdicts[verdict] for verdict in VERDICTS}
    counts |= {f"changes: {change}": merged.changes[change] for change in CHANGES if merged.changes[change]}
    return replace(
        about,
        name=out.name,
        images=str(images.absolute()),
        counts={**about.counts, **counts, "examples for fine-tuning": merged.examples},
        steps=(*about.steps, step) if step else about.steps,
    )
