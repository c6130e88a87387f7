"""Options that several commands share (around Fig. 1): which model answers, where, how exactly, from which bands."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Bits = Literal["8bit", "4bit"]

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


def read_bands(text: str | None) -> tuple[int, int, int] | None:
    """What `BandsOption` was given, counted from 1; None where it was not.

    Raises:
        typer.BadParameter: If it is not three band numbers.
    """
    if text is None:
        return None
    try:
        red, green, blue = (int(number) for number in text.split(","))
    except ValueError:
        red = green = blue = 0
    if min(red, green, blue) < 1:
        raise typer.BadParameter(f"{text!r} is not three band numbers from 1 on, as in 3,2,1", param_hint="--bands")
    return red, green, blue
