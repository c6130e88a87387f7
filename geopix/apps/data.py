"""``geopix data``: annotations in, a data set of ours out (§IV): parse and call; rooms are imported inside commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from geopix.apps import data_review, data_sets
from geopix.apps.errors import SOME_FAILED, one_sentence

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Build a data set: import annotations, filter and join them, describe objects, check, review, export.",
)

app.add_typer(data_review.app)
app.add_typer(data_sets.app)  # its commands are this one's

SplitName = Literal["train", "val", "test"]

SetArgument = Annotated[Path, typer.Argument(metavar="SET", help="The folder of a set.", show_default=False)]
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


@app.command()
@one_sentence()
def describe(
    source: SetArgument,
    output: OutOption,
    by: Annotated[
        Literal["geometry", "endpoint", "replay"],
        typer.Option("--by", help="Who describes: code, a model behind an endpoint, or a file of answers."),
    ] = "geometry",
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="The endpoint's model.")] = "gpt-4o",
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url",
            metavar="URL",
            help="An endpoint that speaks OpenAI's protocol; OpenAI's own if not given. The key is read from "
            "OPENAI_API_KEY.",
            show_default=False,
        ),
    ] = None,
    replies: Annotated[
        Path | None,
        typer.Option(
            "--replies",
            metavar="FILE",
            help="Where answers are kept, and read by --by replay; OUT.replies if not given.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", metavar="USD", min=0.0, help="Stop before more is spent.", show_default=False),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(
            "--price",
            metavar="IN,OUT",
            help="Dollars for a million tokens in and out, for models whose price is not known or has changed.",
            show_default=False,
        ),
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say what it would cost, ask nobody.")] = False,
    batch: Annotated[bool, typer.Option("--batch", help="Use the batch API: cheaper, within a day.")] = False,
    poll: Annotated[
        float, typer.Option("--poll", metavar="SECONDS", min=0.05, help="Pause between looks at a batch.")
    ] = 30.0,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=256, help="Images asked about at once.")] = 8,
    retries: Annotated[
        int,
        typer.Option("--retries", min=0, max=100, help="Repeats of a request that the endpoint fails, backing off."),
    ] = 8,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long an answer may take.")
    ] = 600.0,
    attempts: Annotated[
        int,
        typer.Option("--attempts", min=1, max=20, help="Answers to ask for until all are unique, the first included."),
    ] = 3,
    wordings: Annotated[
        int, typer.Option("--wordings", min=1, max=20, help="Descriptions of an object, where geometry knows so many.")
    ] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what boxes can't confirm, too (colors).")] = False,
    again: Annotated[bool, typer.Option("--again", help="Describe objects anew that have descriptions.")] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Describe every object so that its description means it and no other; keep what the boxes confirm.

    Every description is checked against all boxes of its image. One that is false or ambiguous is asked for again,
    with the reason, and dropped in the end; what was dropped is counted. `geopix data check` shows the rates.

    The default needs no network. An endpoint is told what it will cost, how much it has cost, and where to stop;
    every answer is kept in a file, so that the same command goes on after a stop and nothing is paid twice.

    `geopix data describe out/vhr10 -o out/vhr10-described`

    `geopix data describe out/vhr10 -o out/by-gpt --by endpoint --model gpt-4o --estimate`

    `geopix data describe out/vhr10 -o out/by-gpt --by endpoint --model gpt-4o --batch --budget 20`

    `geopix data describe out/vhr10 -o out/mine --by endpoint --base-url http://localhost:8000/v1 --model qwen-vl`

    Exit code: 0 done, 3 done but for images that the endpoint gave no answer about, 1 stopped, 2 wrong usage.
    """
    from geopix.apps import describing as room

    asked = room.Asked(
        by, model, base_url, replies, budget, _price(price), estimate, batch, poll, concurrency, retries, timeout
    )
    from geopix.data.describe.settle import Wish

    if room.run(source, output, asked, Wish(attempts, wordings, strict, again), overwrite=overwrite):
        raise typer.Exit(SOME_FAILED)


@app.command()
@one_sentence()
def check(
    source: SetArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON instead.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FINDINGS.jsonl",
            help="Also write every description that is not unique, with the reason, one a line.",
            show_default=False,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Check that every description means one object and no other, and print how many do.

    Descriptions are read ("the second ship from the left in the row near the upper edge") and held against all boxes
    of their image. Unique: it fits its object alone, for a strict and for a mild reader. Ambiguous: it may mean
    another. False: it does not fit its object. Unparsable: boxes can't tell (colors), or the words can't be read.

    `geopix data check out/vhr10-described`

    `geopix data check out/sior-t --json -o findings.jsonl`
    """
    from geopix.apps import checking as room

    room.run(source, as_json, output, overwrite)


def _price(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        usd_in, usd_out = (float(number) for number in text.split(","))
    except ValueError:
        usd_in = usd_out = -1.0
    if not (0 <= usd_in < 1e6 and 0 <= usd_out < 1e6):
        raise typer.BadParameter(f"{text!r} is not two prices in dollars, as in 2.50,10", param_hint="--price")
    return usd_in, usd_out
