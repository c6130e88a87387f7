"""Every image of a recipe looked at and compared with every other: bad ones and twins go (§IV-A, leak check)."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from geopix.data.assembly.fingerprints import Picture, library, looked, stored
from geopix.data.assembly.plan import OUT, TAKEN, Chosen, Plan, shard_of
from geopix.data.assembly.pool import Workers
from geopix.data.assembly.recipe import Evaluation, Recipe
from geopix.data.assembly.twins import RANKS, Gathered, Pair, left_out
from geopix.data.entries import ABOUT, EntryError, SetReader
from geopix.data.foreign.found import Watch
from geopix.data.foreign.pictures import SUFFIXES

_REASONS: Final = {
    "leak": "image: twin in another split or an evaluation set",
    "duplicate": "image: twin in the same split",
}


class _Known(NamedTuple):
    """An image that was looked at: the set it is of, its key and split, and its line; -1 in evaluation sets."""

    of: str
    key: str
    split: str
    chosen: int = -1
    line: int = -1


def compare(plan: Plan, recipe: Recipe, folder: Path, shard: tuple[int, int], workers: Workers, watch: Watch) -> None:
    """Leave out of a plan the images that are bad or there twice, and write down the pairs.

    All images are compared, those of other shards too, so that every shard decides alike.

    Args:
        plan: Changed in place.
        recipe, folder, shard, workers, watch: As in `geopix.data.assembly.plan.plan`.

    Raises:
        EntryError: If an evaluation set can't be read, or a needed library is missing.
    """
    library()
    gathered, known = Gathered(), list[_Known]()
    for number, chosen in enumerate(plan.sets):
        _look_at_set(plan, number, chosen, gathered, known, workers, watch)
    for evaluation in recipe.evaluation:
        unusable = _look_at_evaluation(evaluation, folder / evaluation.path, gathered, known, workers, watch)
        if shard[0] == 1:  # every shard sees them all
            plan.tally.counts[f"evaluation images of {evaluation.path.name} that can't be read"] += unusable
    watch("comparing images", 0, 1)
    pairs = [pair for pair in gathered.pairs(recipe.twins.bits) if gathered.ranks[pair.first] < RANKS["evaluation"]]
    gone = left_out(pairs, gathered.ranks, recipe.twins)
    for index, kind in gone.items():
        fates, line = plan.sets[known[index].chosen].fates, known[index].line
        if fates[line] == TAKEN:
            plan.tally.skipped[_REASONS[kind]] += 1
        fates[line] = OUT
    for pair in pairs:
        plan.refused += getattr(recipe.twins, f"{pair.kind}s") == "refuse"
        if shard_of(known[pair.first].key, shard[1]) == shard[0]:
            plan.report.append(_reported(pair, known, gone))
    watch("comparing images", 1, 1)


def _look_at_set(
    plan: Plan, number: int, chosen: Chosen, gathered: Gathered, known: list[_Known], workers: Workers, watch: Watch
) -> None:
    """Look at every image of a set that may go in, in any shard."""
    reader, fates = chosen.reader, chosen.fates
    ahead = {one.key: one for one in stored(reader.folder)}
    asked: deque[tuple[str, int]] = deque()  # split and line of images on their way through the workers

    def pictures() -> Iterator[Picture]:
        for line, text in enumerate(reader.lines()):
            if fates[line] != OUT:
                entry = reader.entry(text, line)
                asked.append((entry.split, line))
                yield entry.key, reader.images / entry.image, entry.size_hw, ahead.get(entry.key)

    total = len(fates) - fates.count(OUT)
    for done, found in enumerate(looked(pictures(), workers), start=1):
        split, line = asked.popleft()
        if found.problem:
            if fates[line] == TAKEN:
                plan.tally.skipped[f"image: {found.problem.removeprefix('image ')}"] += 1
            fates[line] = OUT
        else:
            gathered.add(found.perceptual, found.sha256, RANKS[split])
            known.append(_Known(chosen.source.subset, found.key, split, number, line))
        watch(f"looking at the images of {chosen.source.subset}", done, total)


def _look_at_evaluation(
    evaluation: Evaluation, folder: Path, gathered: Gathered, known: list[_Known], workers: Workers, watch: Watch
) -> int:
    """Look at every image of an evaluation set; the number of those that can't be read."""
    name, unusable = evaluation.path.name, 0
    pictures = _of_set(SetReader(folder), evaluation.splits) if (folder / ABOUT).is_file() else _of_folder(folder)
    for done, found in enumerate(looked(pictures, workers), start=1):
        watch(f"looking at {name}", done, done)
        if found.problem:
            unusable += 1
        else:
            gathered.add(found.perceptual, found.sha256, RANKS["evaluation"])
            known.append(_Known(name, found.key, "evaluation"))
    return unusable


def _of_set(reader: SetReader, splits: Container[str]) -> Iterator[Picture]:
    ahead = {one.key: one for one in stored(reader.folder)}
    for entry in reader:
        if entry.split in splits:
            yield entry.key, reader.images / entry.image, entry.size_hw, ahead.get(entry.key)


def _of_folder(folder: Path) -> Iterator[Picture]:
    if not folder.is_dir():
        raise EntryError(f"{folder} is neither a set nor a folder of images", "correct 'evaluation' in the recipe")
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            yield path.relative_to(folder).as_posix(), path, None, None


def _reported(pair: Pair, known: list[_Known], gone: Container[int]) -> str:
    """A pair as a line of the report."""
    told = [
        {"set": one.of, "key": one.key, "split": one.split, "left_out": index in gone}
        for index, one in ((index, known[index]) for index in (pair.first, pair.second))
    ]
    line = {"kind": pair.kind, "bits": pair.bits, "same_file": pair.same_file, "first": told[0], "second": told[1]}
    return json.dumps(line, ensure_ascii=False) + "\n"
