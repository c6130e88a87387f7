"""``geopix evaluate``: the validation questions of NWPU VHR-10, asked and scored (§V-B, Table III's task)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from geopix import geo
from geopix.apps import show
from geopix.apps.errors import complain

HEADINGS = ("measure", "n", "value", "95 % interval")


class EvaluateError(ValueError):
    """An evaluation that can't be started."""


def run(
    data: Path,
    *,
    model: str,
    device: str,
    dtype: str,
    quantize: str | None,
    batch_size: int,
    output: Path | None,
    overwrite: bool,
    limit: int | None,
) -> None:
    """Ask every validation question, print the scores, and write them if a file is named.

    Args:
        data: The folder that holds nwpu_vhr10.
        model, device: See `geopix.assistant.load`.
        batch_size: Questions answered at once.
        output: Where the report goes as JSON, or None.
        overwrite: Whether ``output`` may exist.
        limit: How many questions to ask, spread over kinds and images; None asks all.

    Raises:
        EvaluateError: If the data or the output can't be used, with the sentence for the user.
        ValueError: If the model can't be loaded.
        OSError: If a file can't be read or written.
        KeyboardInterrupt: After Ctrl-C; nothing has been written then.
    """
    for name in ("annotations.json", "split.json"):
        if not (data / "nwpu_vhr10" / name).is_file():
            raise EvaluateError(
                f"{data / 'nwpu_vhr10' / name} is missing; give the folder that holds nwpu_vhr10 with --data"
            )
    if output is not None:
        if output.suffix.lower() != ".json":
            raise EvaluateError(f"{output} is no name for a report; give a file that ends in .json")
        geo.check_output(output, overwrite)
    started = time.monotonic()
    try:
        with show.quiet_stdout():
            from geopix import assistant  # seconds of torch: after wrong paths have been told
            from geopix.evaluate import vhr10

            guide = assistant.load(model, device, dtype, quantize)
            everything = vhr10.questions(data)
            asked = everything if limit is None else vhr10.spread(everything, limit)
            with _progress() as progress:
                bar = progress.add_task("asking", total=len(asked))
                report = vhr10.evaluate(guide, asked, batch_size, lambda done: progress.update(bar, completed=done))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "stopped before every question was asked, nothing was written; --limit asks fewer questions"
        ) from None
    report |= {"questions": {"asked": len(asked), "of": len(everything)}}
    report |= {"seconds": round(time.monotonic() - started, 1)}
    Console(highlight=False).print(show.table(HEADINGS, rows(report), numeric=HEADINGS[1:3]))
    if len(asked) < len(everything):
        complain(f"asked {len(asked)} of {len(everything)} questions: a first look, not the number of the model card")
    if output is not None:
        vhr10.write(report, output)
        complain(f"wrote {output}")


def rows(report: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """The lines of the table: measure, n, value, and its 95 % interval where there is one."""
    for group in ("overall", "referred", "all of a class"):
        scores = report[group]
        for key, name in (("mean_iou", "mean IoU"), ("ciou", "cIoU")):
            low, high = scores[f"{key}_95"]
            yield f"{group}: {name}", f"{scores['n']:,}", f"{scores[key]:.3f}", f"{low:.3f} to {high:.3f}"
    for name, share in report["shares"].items():
        value = "-" if share["value"] is None else f"{share['value']:.3f}"
        yield name, f"{share['n']:,}", value, "-"


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
