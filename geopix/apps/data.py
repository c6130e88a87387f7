"""``geopix data``: annotations in, a data set of ours out (§IV): parse and call; rooms are imported inside commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from geopix.apps import data_review
from geopix.apps.errors import one_sentence

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Build a data set: import annotations, filter and join them, describe objects, check, review, export.",
)

app.add_typer(data_review.app)

SplitName = Literal["train", "val", "test"]

OutOption = Annotated[
    Path, typer.Option("-o", "--output", metavar="OUT", help="The set's folder, a new one.", show_default=False)
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace a set that is there.")]


class _ImportCommand(TyperCommand):
    """Lists the kinds in ``--help``, which is read from their room only when somebody asks."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from geopix.data.sources.kinds import KINDS

        listed = "\n\n".join(f"- **{name}**: {kind.about}. DIR holds {kind.layout}." for name, kind in KINDS.items())
        self.help = f"{self.help}\n\nKinds:\n\n{listed}"
        super().format_help(ctx, formatter)


@app.command(name="import", cls=_ImportCommand)
@one_sentence()
def import_(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="One of the kinds below.", show_default=False)],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where it lies, unpacked.", show_default=False)],
    output: OutOption,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Its image folder, if it lies elsewhere.", show_default=False),
    ] = None,
    split: Annotated[
        SplitName | None, typer.Option("--split", help="Keep the images of this split only.", show_default=False)
    ] = None,
    as_split: Annotated[
        SplitName | None,
        typer.Option("--as-split", help="Put every image in this split, whatever the files say.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="WORD", help="What keys begin with, as in WORD/00001.", show_default=False),
    ] = None,
    incomplete: Annotated[
        bool,
        typer.Option("--incomplete", help="Objects may be there that nobody annotated: never ask what is absent."),
    ] = False,
    check: Annotated[
        Literal["none", "size", "pixels"],
        typer.Option("--check", help="Look at images: not at all, at their size, or decode every one."),
    ] = "size",
    overwrite: OverwriteOption = False,
) -> None:
    """Import annotations of others as a set of ours.

    Prints what was kept, and what was left out and why: nothing is dropped silently. Images stay where they are; the
    set remembers their folder. Files are not trusted: no pickle or XML can run anything, and no path leaves DIR.

    `geopix data import coco data/nwpu_vhr10 -o out/vhr10`

    `geopix data import sior SAMRS/sior --images DIOR/JPEGImages -o out/sior`

    `geopix data import coco my-labels -o out/mine --as-split test --check pixels`
    """
    from geopix.apps import importing as room

    room.run(
        kind,
        folder,
        output,
        images=images,
        only=split,
        called=as_split,
        name=name,
        complete=not incomplete,
        check=check,
        overwrite=overwrite,
    )
