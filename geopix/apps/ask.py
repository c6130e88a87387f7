"""``geopix ask``: one image, one question, one answer, and the files that were asked for (§III-A, Fig. 1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from geopix import geo, render
from geopix.apps.answer import print_answer
from geopix.apps.errors import complain
from geopix.apps.show import quiet_stdout
from geopix.records import Answer, Image


class OutputError(ValueError):
    """An output file that can't be what the user wants."""


def run(
    image_path: Path,
    question: str,
    *,
    model: str,
    device: str,
    dtype: str,
    quantize: str | None,
    bands: tuple[int, int, int] | None,
    as_json: bool,
    outputs: Sequence[Path],
    overwrite: bool,
) -> None:
    """Answer one question about one image, print the answer and write the outputs.

    Raises:
        OutputError: If an output is named twice.
        ValueError: A room's own error (image, model, question), with the sentence for the user.
        OSError: If something can't be read or written.
    """
    check_outputs(outputs, image_path, overwrite)  # before anything slow
    with quiet_stdout():
        image, frame = geo.read(image_path, bands)
        from geopix import assistant  # seconds of torch: after a wrong path has been told

        guide = assistant.load(model, device, dtype, quantize)
        guide.set_image(image)
        answer = guide.ask(question)
    say_notes(frame)
    if as_json:
        print(json.dumps(answer.to_json(), allow_nan=False), flush=True)
    else:
        print_answer(answer, frame)
    for path in outputs:
        save(path, answer, image, frame, question=question, overwrite=overwrite)


def check_outputs(outputs: Sequence[Path], image_path: Path, overwrite: bool) -> None:
    """Refuse outputs that could not be written, or that would destroy something.

    Raises:
        OutputError: If an output is named twice.
        ValueError: See `geopix.geo.check_output`.
    """
    seen: set[Path] = set()
    for path in outputs:
        place = path.resolve()
        if place in seen:
            raise OutputError(f"{path} is given twice as an output; give every file once")
        seen.add(place)
        geo.check_output(path, overwrite, str(image_path))


def save(path: Path, answer: Answer, image: Image, frame: geo.Frame, *, question: str, overwrite: bool) -> None:
    """Write one output, the suffix picking its form, and say on stderr where it went.

    Raises:
        ValueError: See `geopix.geo.write`.
        OSError: If it can't be written.
    """
    if path.suffix.lower() == ".png":
        geo.write_png(render.overlay(image, answer), path, overwrite)
        note = None
    else:
        note = geo.write(answer, image, frame, path, question=question, overwrite=overwrite)
    complain(f"wrote {path}")
    if note:
        complain(note)


def say_notes(frame: geo.Frame) -> None:
    """Tell on stderr what was ignored in the image file."""
    for note in frame.notes:
        complain(note)
