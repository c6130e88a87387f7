"""``geopix data review`` and ``finetune``: people correct, the describer learns (§IV-C): parse and call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from geopix.apps.errors import one_sentence

app = typer.Typer()

SetArgument = Annotated[Path, typer.Argument(metavar="SET", help="The set's folder.", show_default=False)]

review = typer.Typer(
    name="review",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Let people look at a share of the descriptions, and take in what they say.",
)
app.add_typer(review)


@review.command(name="export")
@one_sentence()
def review_export(
    folder: SetArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="The review's folder, a new one.", show_default=False)
    ],
    images: Annotated[int, typer.Option("--images", min=1, help="Images of every class and arrangement.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Another number picks other images.")] = 0,
    split: Annotated[
        Literal["train", "val", "test", "all"], typer.Option("--split", help="Pick from this split.")
    ] = "train",
    texts: Annotated[int, typer.Option("--texts", min=1, help="Texts of every object, from its first on.")] = 1,
    image_url: Annotated[
        str | None,
        typer.Option(
            "--image-url",
            metavar="PREFIX",
            help="What Label Studio finds the folder `images` under; without it, its local files.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a review that is there.")] = False,
) -> None:
    """Pick images by lot and write them for people to look at, each object with its description.

    DIR holds `index.html`, a page that any browser opens (no server; it sends nothing), and the same as tasks for
    Label Studio; its `README.md` says how to go on. The same set and seed pick the same images. Stopped in the
    middle? Run the same command again.

    `geopix data review export out/fast -o out/fast-review`

    `geopix data review export out/vhr10 -o out/look --images 10 --split all --seed 7`
    """
    from geopix.apps import reviewing as room
    from geopix.data.review.picking import Wish

    room.export(
        folder,
        output,
        Wish(images, seed, None if split == "all" else split, texts),
        image_url=image_url,
        overwrite=overwrite,
    )


@review.command(name="import")
@one_sentence()
def review_import(
    corrections: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|DIR",
            help="What the page saved or Label Studio exported as JSON; or a folder of such files.",
            show_default=False,
        ),
    ],
    folder: SetArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="The corrected set's folder.", show_default=False)
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a set that is there.")] = False,
) -> None:
    """Merge corrections into the set that people were shown; OUT is the corrected set.

    Several people's files go into one folder; where two say different things of a text, you are told. Prints how many
    texts were accepted, rewritten and rejected, and what kind of words were changed. A rejected text is taken out.
    OUT also gets `finetune.jsonl`: the images of the training split whose every object people stand for, as examples
    for `geopix data finetune`.

    `geopix data review import corrections-3f2a90c1d4e5.json out/fast -o out/fast-corrected`

    `geopix data review import from-everybody/ out/fast -o out/fast-corrected`
    """
    from geopix.apps import reviewing as room

    room.import_(corrections, folder, output, overwrite=overwrite)


@app.command()
@one_sentence()
def finetune(
    examples: Annotated[
        Path | None,
        typer.Argument(metavar="EXAMPLES.jsonl", help="What `review import` wrote.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="The model to teach, as gpt-4o-2024-08-06.", show_default=False),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url", metavar="URL", help="Another endpoint of OpenAI's protocol than its own.", show_default=False
        ),
    ] = None,
    job: Annotated[
        str | None, typer.Option("--job", metavar="ID", help="Only watch this job.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="How often it sees every example.", show_default="the endpoint's choice"),
    ] = None,
    suffix: Annotated[
        str | None, typer.Option("--suffix", metavar="WORD", help="A word for the new name.", show_default=False)
    ] = None,
    price: Annotated[
        float | None,
        typer.Option("--price", min=0, help="Dollars a million trained tokens, for the estimate.", show_default=False),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", min=0, help="Stop where the estimate is more dollars than this.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and estimate; send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask before sending.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Start another job though there was one.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.01, help="Seconds between two looks at the job.")] = 10.0,
) -> None:
    """Teach the describer what people corrected: check the examples, estimate, send them, start the job, watch it.

    Images leave this machine, and it costs money: you are asked before anything is sent. The key is read from
    OPENAI_API_KEY. What was done is noted in `EXAMPLES.jsonl.job.json`; stopped in the middle, the same command goes
    on, and nothing is sent or paid twice. The new model's name is printed at the end. OpenAI itself takes new jobs
    only from those who had some before; other endpoints are named with `--base-url`.

    `geopix data finetune out/fast-corrected/finetune.jsonl --model gpt-4o-2024-08-06 --dry-run`

    `geopix data finetune out/fast-corrected/finetune.jsonl --model gpt-4o-2024-08-06 --budget 50`

    `geopix data finetune --job ftjob-abc123`
    """
    from geopix.apps import finetune as room

    room.run(
        examples,
        model=model,
        base_url=base_url,
        job=job,
        epochs=epochs,
        suffix=suffix,
        price=price,
        budget=budget,
        dry=dry_run,
        yes=yes,
        again=again,
        every_s=every,
    )
