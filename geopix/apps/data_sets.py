"""``geopix data build``, ``merge``, ``fingerprint``, ``export`` and ``stats`` (§IV): parse and call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from geopix.apps.errors import one_sentence

app = typer.Typer()

SetArgument = Annotated[
    Path, typer.Argument(metavar="SET", help="A set's folder, as import and build write it.", show_default=False)
]
OutOption = Annotated[
    Path, typer.Option("-o", "--output", metavar="OUT", help="A new folder for the result.", show_default=False)
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result that is there.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=256, metavar="N", help="Processes; the result does not depend on it.")
]
ShardOption = Annotated[
    str,
    typer.Option("--shard", metavar="i/n", help="Do the i-th of n parts only, on this machine; 1/1 is everything."),
]


@app.command()
@one_sentence()
def build(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="What to build.", show_default=False)],
    output: OutOption,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value", help="Settings that replace those of the recipe.", show_default=False),
    ] = None,
    sets: Annotated[
        Path | None,
        typer.Option(
            "--sets", metavar="DIR", help="Where the recipe's paths start; else its own folder.", show_default=False
        ),
    ] = None,
    workers: WorkersOption = 1,
    shard: ShardOption = "1/1",
    overwrite: OverwriteOption = False,
) -> None:
    """Build a set out of others by a recipe: filter, join, windows, leak check.

    Prints what was kept, and what was left out and why. Images that are there twice, across splits or in an
    evaluation set that the recipe names, are listed in OUT/twins.jsonl. Images stay where they are, OUT links to
    their folders; only windows are new files.

    `geopix data build configs/vhr10_t.yaml --sets out/sets -o out/sets/vhr10_t --workers 2`

    `geopix data build sior_t.yaml filter.max_total=8 twins.leaks=refuse -o out/sior_t`

    On several machines, and then together:

    `geopix data build fast_t.yaml -o out/fast_t.3 --shard 3/8`

    `geopix data merge out/fast_t.* -o out/fast_t`
    """
    part = _shard(shard)
    from geopix.apps import assembling as room

    room.build(recipe, overrides or [], output, sets=sets, shard=part, workers=workers, overwrite=overwrite)


@app.command()
@one_sentence()
def merge(
    shards: Annotated[
        list[Path],
        typer.Argument(metavar="SHARD...", help="All shards of a build, in any order.", show_default=False),
    ],
    output: OutOption,
    overwrite: OverwriteOption = False,
) -> None:
    """Put the shards of one build together: the same set as from one machine, shard after shard.

    `geopix data merge out/fast_t.1 out/fast_t.2 out/fast_t.3 -o out/fast_t`
    """
    from geopix.apps import assembling as room

    room.merge(shards, output, overwrite=overwrite)


@app.command()
@one_sentence()
def fingerprint(folder: SetArgument, workers: WorkersOption = 1, shard: ShardOption = "1/1") -> None:
    """Look at a set's images ahead of building, and keep their hashes in the set's folder.

    `build` compares all images with all; where it finds their hashes it need not open them again. Worth it before
    building in shards, or more than once. Stopped in the middle? Run the same command again: it goes on.

    `geopix data fingerprint out/sets/fast --workers 8`

    `geopix data fingerprint out/sets/fast --shard 3/8`
    """
    part = _shard(shard)
    from geopix.apps import assembling as room

    room.fingerprint(folder, shard=part, workers=workers)


@app.command()
@one_sentence()
def export(
    folder: SetArgument,
    output: OutOption,
    form: Annotated[
        Literal["parquet", "coco"],
        typer.Option("--format", help="parquet: GeoPixInstruct-Anno's schema and the pictures. coco: instances JSON."),
    ] = "parquet",
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Leave the images' files out of the parquet.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a set in a form that other tools read, with a data card that tells the terms of every source.

    `geopix data export out/sets/vhr10_t -o out/vhr10_t-parquet`

    `geopix data export out/sets/vhr10_t -o out/vhr10_t-coco --format coco`

    In Python: `datasets.load_dataset("out/vhr10_t-parquet", split="train.VHR10_T")`
    """
    from geopix.apps import assembling as room

    room.export(folder, output, form, pictures=not no_pictures, overwrite=overwrite)


@app.command()
@one_sentence()
def stats(
    folder: SetArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Also write stats.json and fig4.png there.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON instead of tables.")] = False,
) -> None:
    """Count a set as the paper does: its row of Table I, Table II, and the figure of φ and θ.

    φ is the number of instances in an image, θ the share of its image that one instance's mask covers.

    `geopix data stats out/sets/vhr10_t`

    `geopix data stats out/sets/vhr10_t -o out/vhr10_t-stats`
    """
    from geopix.apps import assembling as room

    room.stats(folder, output, as_json=as_json)


def _shard(told: str) -> tuple[int, int]:
    i, slash, n = told.partition("/")
    if not (slash and i.isascii() and n.isascii() and i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n) <= 100_000):
        raise typer.BadParameter(f"{told!r} is no part of a whole, as in 3/8", param_hint="--shard")
    return int(i), int(n)
