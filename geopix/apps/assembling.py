"""``geopix data build`` and what goes with it: bars while it works, tables of what came of it (§IV)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rich.console import Console

from geopix.apps import show
from geopix.apps.errors import complain
from geopix.data import statistics
from geopix.data.entries import SetReader
from geopix.data.foreign.found import Watch


def build(
    recipe: Path,
    overrides: list[str],
    out: Path,
    *,
    sets: Path | None,
    shard: tuple[int, int],
    workers: int,
    overwrite: bool,
) -> None:
    """Build a set by a recipe, and tell what was kept and what was left out.

    Raises:
        ConfigError: If the recipe can't be used.
        EntryError: If it can't be done, with the sentence for the user.
        PoolError: If a worker died.
        OSError: If a file can't be read or written.
        KeyboardInterrupt: After Ctrl-C; nothing has been written then.
    """
    from geopix.data.assembly import recipe as recipes
    from geopix.data.assembly import run as room

    wanted = recipes.load(recipe, tuple(overrides))
    folder = recipe.parent if sets is None else sets
    with _bars("stopped before everything was built, nothing was written") as watch:
        built = room.build(wanted, folder, out, shard=shard, workers=workers, overwrite=overwrite, watch=watch)
    _tell(built.tally.counts, built.tally.skipped)
    if built.n_pairs:
        complain(f"{built.n_pairs:,} pairs of images are there twice: {out / room.REPORT}")
    complain(f"wrote {built.images:,} images with {built.objects:,} objects to {out}")


def merge(shards: list[Path], out: Path, *, overwrite: bool) -> None:
    """Put shards together. Raises as `build`."""
    from geopix.data.assembly import merge as room

    with _bars("stopped before everything was merged, nothing was written") as watch:
        about = room.merge(shards, out, overwrite=overwrite, watch=watch)
    _tell(about.counts, about.skipped)
    complain(f"wrote {about.counts['images']:,} images with {about.counts['objects']:,} objects to {out}")


def fingerprint(folder: Path, *, shard: tuple[int, int], workers: int) -> None:
    """Look at a set's images ahead. Raises as `build`."""
    from geopix.data.assembly import ahead

    with _bars("stopped; run the same command again to go on") as watch:
        told = ahead.make(SetReader(folder), shard=shard, workers=workers, watch=watch)
    Console(highlight=False).print(show.table(("images", "n"), [(name, f"{n:,}") for name, n in told.items()], ("n",)))


def export(folder: Path, out: Path, form: Literal["parquet", "coco"], *, pictures: bool, overwrite: bool) -> None:
    """Write a set for others. Raises as `build`."""
    from geopix.data.export import run as room

    reader = SetReader(folder)
    with _bars("stopped before everything was written, nothing is left of it") as watch:
        parts = room.export(reader, out, form, pictures=pictures, overwrite=overwrite, watch=watch)
    _print_tables(reader.about.name, parts)
    complain(f"wrote {out}")


def stats(folder: Path, out: Path | None, *, as_json: bool) -> None:
    """Count a set; print tables or JSON, and write JSON and the figure where a folder is named. Raises as `build`."""
    from geopix.data import figure4

    reader = SetReader(folder)
    with _bars("stopped before everything was counted") as watch:
        parts = statistics.count(reader, reader.about.name, reader.about.counts.get("images", 0), watch)
    told = statistics.to_json(reader.about.name, parts)
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        _print_tables(reader.about.name, parts)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        staged = out / f".stats.{os.getpid()}"
        try:
            staged.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            staged.replace(out / "stats.json")
            figure4.draw(parts, staged)
            staged.replace(out / "fig4.png")
        finally:
            staged.unlink(missing_ok=True)
        complain(f"wrote {out / 'stats.json'} and {out / 'fig4.png'}")


def _print_tables(name: str, parts: dict[tuple[str, str], statistics.Part]) -> None:
    console, total = Console(highlight=False), statistics.whole(parts.values())
    console.print("Table I")
    console.print(show.table(statistics.TABLE_1, [statistics.table_1(name, total)], ("images",)))
    console.print("\nTable II")
    headings = statistics.TABLE_2_SHORT
    console.print(show.table(headings, statistics.table_2(parts, short=True), headings[1:]))
    if total.arrangements:
        rows = [
            (kind, f"{n:,}", f"{100 * n / total.arrangements.total():.1f} %")
            for kind, n in sorted(total.arrangements.items())
        ]
        console.print()
        console.print(show.table(("arrangement", "instances", "share"), rows, ("instances", "share")))


def _tell(counts: Mapping[str, int], skipped: Mapping[str, int]) -> None:
    console = Console(highlight=False)
    rows = [(name, f"{n:,}") for name, n in sorted(counts.items()) if n]
    console.print(show.table(("counted", "n"), rows, ("n",)))
    left_out = [(name, f"{n:,}") for name, n in sorted(skipped.items(), key=lambda item: (-item[1], item[0])) if n]
    console.print()
    console.print(show.table(("left out", "n"), left_out, ("n",)) if left_out else "nothing was left out")


@contextmanager
def _bars(if_stopped: str) -> Iterator[Watch]:
    """A bar for everything that is watched; Ctrl-C says what is left."""
    try:
        with show.watched() as watch:
            yield watch
    except KeyboardInterrupt:
        raise KeyboardInterrupt(if_stopped) from None
