"""What is said when a micro-batch can't be learned from: a loss that is no number, or too little memory (§V-A)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from geopix.config import Stage
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.train.batches import Batch
from geopix.train.step import States, one_image, step_losses, total_loss


class TrainingMemoryError(RuntimeError):
    """Too little memory for a micro-batch, with the settings that change it."""


class DivergedError(FloatingPointError):
    """A loss or gradient that is not finite, with the samples it came from."""


@contextmanager
def enough_memory(stage: Stage, step: int) -> Iterator[None]:
    """Say which settings to change where memory runs out inside.

    Raises:
        TrainingMemoryError: In place of torch's own errors.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has no type of its own for the CPU's
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "can't allocate memory" not in str(error):
            raise
        settings = f"images (now {stage.images}), dialogues ({stage.dialogues}) or targets ({stage.targets})"
        if not stage.gradient_checkpointing:
            settings += ", or set gradient_checkpointing=true"
        whole = stage.global_batch or stage.questions_at_once
        raise TrainingMemoryError(
            f"not enough memory in step {step}: lower {settings}; global_batch={whole} keeps the update as large as "
            "it is; then run the same command again"
        ) from error


def culprits(
    model: GeoPixModel, batch: Batch, stage: Stage, progress: float, states: States | None, dialogue: Dialogue | None
) -> list[str]:
    """Which images of a micro-batch, each alone, have a loss that is not finite; all where none has alone.

    Returns:
        Of each "store: key (what was asked)".
    """
    rows = range(len(batch.features))
    with torch.no_grad():
        told = [step_losses(model, one_image(batch, row), stage, progress, states).losses for row in rows]
    bad = [row for row in rows if told[row] and not torch.isfinite(total_loss(told[row], stage))]
    return [f"{batch.names[row]} ({asked(batch, row, dialogue)})" for row in bad or rows]


def asked(batch: Batch, row: int, dialogue: Dialogue | None) -> str:
    """What a batch says of one image: its phrases, or its dialogues without the image's places."""
    if batch.phrases is not None:
        return ", ".join(dict.fromkeys(batch.phrases[row]))
    if batch.ids is None or batch.branches is None or dialogue is None:
        return "no words"
    spoken = batch.ids[row][(batch.branches[row] > 0) & (batch.ids[row] != dialogue.image_id)]
    return " ".join(dialogue.tokenizer.decode(spoken.tolist(), skip_special_tokens=True).split())


def printable(text: str) -> str:
    """Text of a data set without what a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)
