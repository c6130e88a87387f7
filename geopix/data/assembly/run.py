"""Build a set by its recipe, all of it or one shard, and put shards together (§IV-A, §IV-B)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from geopix.data.assembly.plan import TAKEN, Plan, plan
from geopix.data.assembly.pool import Workers
from geopix.data.assembly.recipe import Recipe
from geopix.data.assembly.work import Job, Step, Tally, verified, work
from geopix.data.entries import About, EntryError
from geopix.data.foreign.found import Watch, unwatched
from geopix.data.writing import SetWriter

IMAGES: Final = "images"
"""Where a set that was built holds its images: SUBSET/whole leads to the folder of a set that went in, SUBSET/windows
holds what was cut. So entries tell the same paths on every machine."""
REPORT: Final = "twins.jsonl"
"""The pairs of images that are there twice, with what became of them."""


@dataclass(frozen=True, slots=True)
class Built:
    """What came of it.

    Args:
        tally: What was kept, and what left out and why.
        n_pairs: Pairs of twins in the report.
        images, objects: In the set.
    """

    tally: Tally
    n_pairs: int
    images: int
    objects: int


def build(
    recipe: Recipe,
    sets: Path,
    out: Path,
    *,
    shard: tuple[int, int] = (1, 1),
    workers: int = 1,
    overwrite: bool = False,
    steps: Sequence[Step] = (),
    watch: Watch = unwatched,
) -> Built:
    """Build a set; nothing is written unless all of it could be built.

    The files are the same to the byte whatever the number of workers, and for whole sets and their shards together
    the same entries.

    Args:
        recipe: What to build.
        sets: Where relative paths of the recipe start.
        out: A new folder, or with ``overwrite`` a set that is replaced.
        shard: (i, n), i from 1: only the entries of which the key's hash falls on i.
        workers: Processes.
        steps: Done to every image that stays, in order, by the workers.
        watch: Told how far it is.

    Raises:
        EntryError: If a set can't be read, the output is taken, the recipe refuses twins, or nothing is left.
        PoolError: If a worker died.
        OSError: If a file can't be read or written.
    """
    proof: list[Step] = [] if recipe.verify == "off" else [partial(verified, drop=recipe.verify == "drop")]
    with SetWriter(out, overwrite) as writer, Workers(workers) as processes:
        made = plan(recipe, sets, shard, processes, watch)
        if made.refused:
            _refuse(made, out)
        tally = made.tally
        for chosen in made.sets:
            pictures = writer.staging / IMAGES
            (pictures / chosen.source.subset).mkdir(parents=True)
            (pictures / chosen.source.subset / "whole").symlink_to(chosen.reader.images.resolve())
            job = Job(recipe, chosen.source, chosen.reader.folder, pictures, (*proof, *steps))
            done, total = 0, chosen.fates.count(TAKEN)
            for result in processes.ordered(partial(work, job), chosen.batches(sets)):
                writer.write(result.lines, result.n_entries, result.n_objects)
                tally += result.tally
                done += result.n_read
                watch(f"building {chosen.source.subset}", done, total)
        if not writer.n_entries and shard[1] == 1:
            most = "; ".join(f"{count:,} {reason}" for reason, count in tally.skipped.most_common(3))
            raise EntryError(f"nothing is left of {recipe.name}", most or "the sets are empty")
        (writer.staging / REPORT).write_text("".join(made.report), encoding="utf-8")
        writer.finish(_about(recipe, made, shard))
        return Built(tally, len(made.report), writer.n_entries, writer.n_objects)


def _refuse(made: Plan, out: Path) -> None:
    """Write the report beside the output, and give up."""
    report = out.with_name(f"{out.name}.{REPORT}")
    staged = report.with_name(f".{report.name}.{os.getpid()}")
    staged.write_text("".join(made.report), encoding="utf-8")
    staged.replace(report)
    raise EntryError(
        f"the recipe refuses images that are there twice, and there are {made.refused} pairs",
        f"they are listed in {report}; leave them out with twins.leaks=drop and twins.duplicates=drop",
    )


def _about(recipe: Recipe, made: Plan, shard: tuple[int, int]) -> About:
    sources: dict[str, str] = {}
    steps: dict[str, None] = {}
    for chosen in made.sets:
        sources |= chosen.reader.about.sources
        steps |= dict.fromkeys(chosen.reader.about.steps)
    counts = {name: count for name, count in sorted(made.tally.counts.items()) if count}
    if shard[1] > 1:
        counts |= {"shard": shard[0], "shards": shard[1]}
    return About(
        name=recipe.name,
        images=IMAGES,
        sources=sources,
        counts=counts,
        skipped=dict(sorted(made.tally.skipped.items())),
        steps=(*steps, f"geopix data build: {recipe.model_dump_json(exclude_defaults=True)}"),
    )
