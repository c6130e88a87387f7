"""``geopix train``, ``evaluate``, ``table`` and ``ablate`` (§III-C, §V): parse and call; rooms are imported inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geopix.apps.errors import one_sentence
from geopix.apps.options import DeviceOption, DtypeOption, ModelOption, OverwriteOption, QuantizeOption

app = typer.Typer()


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
            "--data",
            metavar="DIR",
            help="The folder that holds what the stage's sources are made of: nwpu_vhr10 (vhr), sen2ships (ports), "
            "ucm, gdit_airport (gdit), aid_rsicd (aid), and sets of your own.",
            show_default=False,
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
    count as zero. The protocol stands in the report. This is a quick look at NWPU VHR-10 alone; `geopix table 3` has
    three protocols, more numbers, other data, other systems' answers, and tables that can be compared.

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
        str, typer.Argument(metavar="1...11|compare", help="The paper's table, or compare.", show_default=False)
    ],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[A.json B.json]",
            help="What compare takes; for 11, NAME=FILE.json for each table of each model, NAME=metrics.jsonl for each "
            "stage of its training.",
            show_default=False,
        ),
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
    runs: Annotated[
        Path | None,
        typer.Option(
            "--runs", metavar="DIR", help="Where geopix ablate put its results (9 to 11).", show_default=False
        ),
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

    1 and 9 to 11 ask nobody: the field as it stands, and results that are there.

    `geopix table 9 --runs out/nano`

    `geopix table 11 "one stage=out/a3.json" "two stages=out/b3.json" "two stages=runs/stage1/metrics.jsonl"`
    """
    from geopix.apps import judging, table_kept
    from geopix.apps import table as room

    if base_url is not None and not judge:
        raise typer.BadParameter("an endpoint judges nothing without --judge NAME", param_hint="--base-url")
    kept = number.isdecimal() and int(number) in table_kept.TABLES
    if kept or number == "compare":
        asking = {"--judge": judge, "--predictions": predictions, "--questions": questions, "--limit": limit}
        for option in (option for option, value in asking.items() if value is not None):
            raise typer.BadParameter("nobody is asked here; it is for tables 2 to 8", param_hint=option)
    if runs is not None and not kept:
        raise typer.BadParameter("results of geopix ablate become tables 9 to 11 alone", param_hint="--runs")
    if number == "compare" and files is not None and len(files) == 2:
        room.compare(Path(files[0]), Path(files[1]), outputs=output or (), overwrite=overwrite)
    elif kept:
        table_kept.run(int(number), files or (), runs, outputs=output or (), overwrite=overwrite)
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
