"""The ``geopix`` command (§III-A, the user's side of Fig. 1): parse and call; rooms are imported inside commands."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Literal

import typer

import geopix
from geopix.apps import data
from geopix.apps.errors import SOME_FAILED, complain, one_sentence

app = typer.Typer(
    name="geopix",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(data.app)

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Bits = Literal["8bit", "4bit"]

ImageArgument = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="A PNG, JPEG or GeoTIFF seen from above.", show_default=False)
]
ModelOption = Annotated[
    str,
    typer.Option("--model", metavar="nano|DIR|HUB_ID", help="The embedded nano, a folder, or a model of the hub."),
]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where to run; auto takes CUDA if there is any.")]
DtypeOption = Annotated[
    Dtype, typer.Option("--dtype", help="What to compute in; auto takes what the device is fast in.")
]
QuantizeOption = Annotated[
    Bits | None,
    typer.Option(
        "--quantize",
        help="Keep the language model in fewer bits: less memory, answers about the same. For saved folders; needs "
        "bitsandbytes.",
        show_default=False,
    ),
]
BandsOption = Annotated[
    str | None,
    typer.Option(
        "--bands",
        metavar="R,G,B",
        help="The bands of a raster to see as red, green and blue, counted from 1: 4,3,2 is true colour where band "
        "4 is red.",
        show_default=False,
    ),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace output files that exist.")]


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
    chosen = _bands(bands)
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
    chosen = _bands(bands)
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
    chosen = _bands(bands)
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


@app.command()
@one_sentence()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The stage's settings.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value", help="Settings that replace those of the file.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="The folder that holds nwpu_vhr10, sen2ships and ucm.", show_default=False
        ),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            "--runs",
            metavar="DIR",
            help="Where features, checkpoints and metrics go; made if need be.",
            show_default=False,
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="DIR", help="Write the model there at the end, ready to ask.", show_default=False
        ),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only tell what the stage costs: nothing is trained.")] = False,
    devices: Annotated[int, typer.Option("--devices", min=1, metavar="N", help="With --plan: among how many.")] = 1,
    tflops: Annotated[
        float | None,
        typer.Option(
            "--tflops",
            min=1e-6,
            metavar="N",
            help="With --plan: what a device's matrix products reach, in 10^12 operations a second; measured on this "
            "machine if not given.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --plan: print one line of JSON instead.")] = False,
) -> None:
    """Train one stage.

    Features of the frozen encoder are computed once and kept; metrics of every step go to `metrics.jsonl` in the
    stage's folder. Stopped in the middle? Run the same command again: it continues from the last checkpoint.

    `geopix train configs/nano_search.yaml --data data --runs out/nano`

    `geopix train configs/nano_joint.yaml steps=200 loss.dice=1.0 --data data --runs out/nano --export out/my-nano`

    `runs/nano.sh` runs all stages of nano in order.

    What will it cost? Parameters by part, memory of a device, speed and hours, without training:

    `geopix train configs/nano_joint.yaml --plan`

    `geopix train configs/nano_joint.yaml --plan --devices 8 --tflops 400`
    """
    if plan:
        from geopix.apps import planning

        planning.run(config, overrides or [], runs=runs, devices=devices, tflops=tflops, as_json=as_json)
        return
    if data is None or runs is None:
        missing = "--data" if data is None else "--runs"
        raise typer.BadParameter("a training needs it (a --plan does not)", param_hint=missing)
    from geopix.apps import train as room

    room.run(config, overrides or [], data=data, runs=runs, export=export)


@app.command()
@one_sentence()
def evaluate(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder that holds nwpu_vhr10.")],
    model: ModelOption = "nano",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantize: QuantizeOption = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Questions answered at once; lower it if memory runs out.")
    ] = 16,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="REPORT.json", help="Also write the whole report.", show_default=False),
    ] = None,
    overwrite: OverwriteOption = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=8, metavar="N", help="Ask N questions only, spread over all images.", show_default=False
        ),
    ] = None,
) -> None:
    """Ask the validation questions and print scores with n and 95 % intervals.

    The model writes every answer itself; masks are compared at the image's own resolution, missing and extra masks
    count as zero. The protocol stands in the report.

    `geopix evaluate --data data -o report.json`

    `geopix evaluate --data data --model out/my-nano --limit 100`
    """
    from geopix.apps import evaluate as room

    room.run(
        data,
        model=model,
        device=device,
        dtype=dtype,
        quantize=quantize,
        batch_size=batch_size,
        output=output,
        overwrite=overwrite,
        limit=limit,
    )


@app.command()
@one_sentence()
def table(
    number: Annotated[
        str, typer.Argument(metavar="2...8|compare", help="The paper's table, or compare.", show_default=False)
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[A.json B.json]", help="What compare takes.", show_default=False)
    ] = None,
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="DIR", help="A set (2...8), or holds the benchmark, nwpu_vhr10 (3, 8) or ucm (4, 7)."
        ),
    ] = Path("data"),
    model: ModelOption = "nano",
    device: DeviceOption = "auto",
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="FILE.jsonl", help="Score these answers, no model.", show_default=False),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option("--questions", metavar="NEW_DIR", help="Only write what is asked.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=8, metavar="N", help="Ask N questions only.", show_default=False)
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge", metavar="NAME", help="A model that judges words (4 to 7); else nobody.", show_default=False
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url",
            metavar="URL",
            help="The judge's endpoint, of OpenAI's protocol; OpenAI's own if not given. The key is read from "
            "OPENAI_API_KEY.",
            show_default=False,
        ),
    ] = None,
    replies: Annotated[
        Path, typer.Option("--replies", metavar="FILE", help="Where the judge's answers are kept, and looked up first.")
    ] = Path("judge.replies"),
    retries: Annotated[
        int, typer.Option("--retries", min=0, max=100, help="Repeats of a question that the judge's endpoint fails.")
    ] = 3,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long the judge may take to answer.")
    ] = 60.0,
    output: Annotated[
        list[Path] | None,
        typer.Option("-o", "--output", metavar="FILE.md|.csv|.json", help="Repeatable.", show_default=False),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make a table of the paper with n, 95 % intervals, protocol, hashes and the paper's own rows.

    `geopix table 3 --data data --limit 40 -o out/table3.md -o out/table3.json`

    `geopix table 8 --data data --questions out/asked8` writes what any other system may answer; its answers:

    `geopix table 8 --data data --predictions theirs.jsonl -o out/theirs8.json`

    `geopix table compare out/table8.json out/theirs8.json`

    `geopix table 4 --predictions theirs.jsonl --judge gpt-4o` also judges what the benchmark's rule leaves open, and
    with 6 and 7 the captions (CLAIR). Nothing is sent unless a judge is named; each answer is kept and asked for once.
    """
    from geopix.apps import judging
    from geopix.apps import table as room

    if base_url is not None and not judge:
        raise typer.BadParameter("an endpoint judges nothing without --judge NAME", param_hint="--base-url")
    if number == "compare" and files is not None and len(files) == 2:
        room.compare(files[0], files[1], outputs=output or (), overwrite=overwrite)
    elif number.isdecimal() and not files:
        room.run(
            int(number), data, model=model, device=device, predictions=predictions, questions=questions, limit=limit,
            outputs=output or (), overwrite=overwrite,
            judge=judging.Asked(judge, base_url, replies, retries, timeout) if judge else None,
        )  # fmt: skip
    else:
        raise typer.BadParameter("give a table's number, or compare with two .json files", param_hint="NUMBER")


@app.command()
@one_sentence()
def ablate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The rows' settings.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder that holds nwpu_vhr10.")],
    runs: Annotated[
        Path, typer.Option("--runs", metavar="DIR", help="Where features are kept and results go; made if need be.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value", help="Settings that replace those of the file.", show_default=False),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows", metavar="A,B,...", help="Only these, and what they are compared with.", show_default=False
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Training runs of a row.")] = 3,
    model: ModelOption = "nano",
) -> None:
    """Train and score the rows of Tables IX, X and XI, and say which differences are real.

    What the language model says is read once and kept, so that a row is a matter of minutes; the table's footer says
    how. Results go to `ablation` in the runs' folder. Stopped in the middle? Run the same command again.

    `geopix ablate configs/ablation.yaml --data data --runs out/nano`

    `geopix ablate configs/ablation.yaml --rows capacity_none,lisa --seeds 5 --data data --runs out/nano`

    Rows that take hours are run when they are named: `--rows full_default,full_capacity_none`.
    """
    from geopix.apps import ablate as room

    names = [name.strip() for name in (rows or "").split(",") if name.strip()]
    room.run(config, overrides or [], rows=names, seeds=seeds, data=data, runs=runs, model=model)


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


def _bands(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    try:
        red, green, blue = (int(number) for number in text.split(","))
    except ValueError:
        red = green = blue = 0
    if min(red, green, blue) < 1:
        raise typer.BadParameter(f"{text!r} is not three band numbers from 1 on, as in 3,2,1", param_hint="--bands")
    return red, green, blue


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
