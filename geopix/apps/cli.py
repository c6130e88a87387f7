"""The ``geopix`` command (§III-A, the user's side of Fig. 1): parse and call; rooms are imported inside commands."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

import geopix
from geopix.apps import data, training
from geopix.apps.errors import SOME_FAILED, complain, one_sentence
from geopix.apps.options import (
    BandsOption,
    DeviceOption,
    DtypeOption,
    ModelOption,
    OverwriteOption,
    QuantizeOption,
    read_bands,
)

app = typer.Typer(
    name="geopix",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(data.app)

ImageArgument = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="A PNG, JPEG or GeoTIFF seen from above.", show_default=False)
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"geopix {geopix.__version__}")
        raise typer.Exit


@app.callback()
def _geopix(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Ask a satellite or aerial image in plain words; get text, with a mask for every object meant.

    Start with: `geopix ask port.tif "segment the ships" -o ships.gpkg`

    If something does not work: `geopix doctor`
    """
    # Advice of the libraries is not for users of this command; setdefault leaves them the choice. The hub's progress
    # bars are: what it fetches takes minutes.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


@app.command()
@one_sentence()
def ask(
    image: ImageArgument,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In plain words.", show_default=False)],
    model: ModelOption = "nano",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    bands: BandsOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the answer as one line of JSON, and nothing else, on stdout.")
    ] = False,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Also write FILE; give it as often as you like. The suffix picks the form: .png overlay, .gpkg or "
            ".geojson polygons on the map, .tif label raster (0 = none), .json COCO.",
            show_default=False,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Ask one question about one image.

    Prints the answer; [1] in it is the first row of the table below it, and the first object in every output.

    `geopix ask airport.png "how many airplanes are there?"`

    `geopix ask port.tif "segment the ships" -o ships.gpkg -o ships.png`

    `geopix ask scene.tif "segment the bridge and the harbor" --bands 4,3,2 --json`
    """
    chosen = read_bands(bands)
    from geopix.apps import ask as room

    room.run(
        image,
        question,
        model=model,
        device=device,
        dtype=dtype,
        quantize=quantize,
        bands=chosen,
        as_json=as_json,
        outputs=output or [],
        overwrite=overwrite,
    )


@app.command()
@one_sentence()
def chat(
    image: ImageArgument,
    model: ModelOption = "nano",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    bands: BandsOption = None,
) -> None:
    """Hold a conversation about an image in the terminal.

    Later questions may refer to earlier answers. `/save FILE` writes the last answer, `/image PATH` goes on with
    another image, `/help` lists the rest. Ctrl-C cancels an answer, Ctrl-D leaves.

    `geopix chat airport.png`
    """
    chosen = read_bands(bands)
    from geopix.apps import chat as room

    room.run(image, model=model, device=device, dtype=dtype, quantize=quantize, bands=chosen)


@app.command()
@one_sentence()
def predict(
    requests: Annotated[
        Path, typer.Argument(metavar="REQUESTS.jsonl", help="One request a line, as below.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="ANSWERS.jsonl", help="Where the answers go.", show_default=False),
    ],
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Questions answered at once; lower it if memory runs out.")
    ] = 8,
    model: ModelOption = "nano",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    bands: BandsOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew instead of continuing.")] = False,
) -> None:
    """Answer many questions about many images, in batches.

    A line of the request file; the path of the image is relative to that file:

    `{"id": "a1", "image": "tiles/a1.png", "question": "segment the ships"}`

    The answers are lines of JSON in the order of the requests. A bad line gets an answer with "error", and the rest
    go on. Stopped in the middle? Run the same command again: it continues where it stopped.

    `geopix predict requests.jsonl -o answers.jsonl --batch-size 16`

    Exit code: 0 all answered, 3 some answers hold an error, 1 could not run, 2 wrong usage, 130 interrupted.
    """
    chosen = read_bands(bands)
    from geopix.apps import predict as room

    errors = room.run(
        requests,
        output,
        batch_size=batch_size,
        model=model,
        device=device,
        dtype=dtype,
        quantize=quantize,
        bands=chosen,
        overwrite=overwrite,
    )
    if errors:
        raise typer.Exit(SOME_FAILED)


app.registered_commands += training.app.registered_commands  # here, where --help is to list them


@app.command()
@one_sentence()
def convert(
    model: Annotated[
        str, typer.Argument(metavar="DIR|HUB_ID", help="The authors' published checkpoint.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.", show_default=False)],
) -> None:
    """Write the checkpoint that the paper's authors published as a folder of ours, in safetensors only.

    `geopix ask` takes either; the folder is read faster, and holds no file that could run anything.

    `geopix convert Norman-ou/GeoPix-ft-sior_rsicap out/released`
    """
    from geopix.apps import convert as room

    room.run(model, out)


@app.command()
@one_sentence()
def push(
    model: Annotated[
        str, typer.Argument(metavar="nano|DIR|HUB_ID", help="The model to give away.", show_default=False)
    ],
    hub_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Its place on the hub.", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="Nobody else may see it.")] = False,
    dry_run: Annotated[
        Path | None,
        typer.Option(
            "--dry-run", metavar="OUT", help="Only write what would go up, to a new folder.", show_default=False
        ),
    ] = None,
) -> None:
    """Put a model on the hub, with a card of what is known of it: parts, licences, data terms, memory, training.

    The card, README.md, is made from what the model's files say. Look at it first:

    `geopix push out/my-nano someone/my-nano --dry-run out/to-push`

    `geopix push out/my-nano someone/my-nano --private`

    Log in once before, with the hub's own command: `hf auth login`
    """
    from geopix.apps import push as room

    room.run(model, hub_id, private=private, dry_run=dry_run)


@app.command()
@one_sentence()
def info(
    model: Annotated[
        str, typer.Argument(metavar="[nano|DIR|HUB_ID]", help="The model to tell about.", show_default="nano")
    ] = "nano",
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON instead.")] = False,
) -> None:
    """Tell what a model is made of: parts, parameters, memory needed, licences, and terms of its training data.

    `geopix info`

    `geopix info runs/my-model`
    """
    from geopix.apps import info as room

    room.run(model, as_json)


@app.command()
@one_sentence()
def doctor() -> None:
    """Look for what is missing on this machine and print the commands that mend it.

    Exit code: 0 if nothing needed is missing, otherwise 1.
    """
    from geopix.apps import doctor as room

    if not room.run():
        raise typer.Exit(1)


def main() -> None:
    """The entry point of the ``geopix`` command."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            with suppress(ValueError):  # a closed stream
                stream.reconfigure(errors="replace")  # odd bytes in names must not end the program
    try:
        app(prog_name="geopix")
    except KeyboardInterrupt:
        complain("geopix: stopped")
        sys.exit(130)
