"""Files of a model, read as if a stranger had sent them: what is missing, extra, misshapen or no number is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

AGAIN = "install GeoPix again, or export the model again"


class CheckpointError(ValueError):
    """A model that can't be loaded: unknown, incomplete, damaged, or not ours."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        CheckpointError: If it is missing or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; install GeoPix again, or run: git checkout -- {path}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file.

    Raises:
        CheckpointError: If it is missing or damaged.
    """
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; install GeoPix again, or run: git checkout -- {path}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); install GeoPix again") from error


def fill(own: dict[str, Tensor], tensors: dict[str, Tensor], where: Path, mend: str = AGAIN) -> None:
    """Copy tensors into a model's own of the same names.

    Args:
        own: The model's, written to in place.
        tensors: What was read.
        where: The file or folder they came from, for the message.
        mend: What the user may do.

    Raises:
        CheckpointError: If one is missing, extra, misshapen, of another kind of number, or not finite.
    """
    missing, extra = own.keys() - tensors.keys(), tensors.keys() - own.keys()
    if missing or extra:
        raise CheckpointError(
            f"{where} does not fit: {len(missing)} tensors missing {sorted(missing)[:2]}, "
            f"{len(extra)} unexpected {sorted(extra)[:2]}; {mend}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            shapes = f"is {tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
            raise CheckpointError(f"{name} in {where} {shapes}; {mend}")
        if tensor.is_floating_point() != own[name].is_floating_point():
            raise CheckpointError(f"{name} in {where} is {tensor.dtype}, expected {own[name].dtype}; {mend}")
        check_finite(name, tensor, where, mend)
        own[name].copy_(tensor)


def check_finite(name: str, tensor: Tensor, where: Path, mend: str = AGAIN) -> None:
    """Refuse a tensor that is not made of numbers.

    Raises:
        CheckpointError: If it holds NaN or infinity.
    """
    if not torch.isfinite(tensor).all():
        raise CheckpointError(f"{name} in {where} holds NaN or infinity; {mend}")
