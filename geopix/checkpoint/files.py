"""Files of a model, read as if a stranger had sent them: what is missing, extra, misshapen or no number is named."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

AGAIN = "install GeoPix again, or export the model again"


class CheckpointError(ValueError):
    """A model that can't be loaded: unknown, incomplete, damaged, or not ours."""


def read_json(path: Path, mend: str | None = None) -> dict[str, Any]:
    """A JSON object from a file.

    Args:
        path: Where it is.
        mend: What the user may do where it is missing; by default what helps with a file of GeoPix's own.

    Raises:
        CheckpointError: If it is missing or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; {mend or _again(path)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return found


def read_tensors(path: Path, mend: str | None = None) -> dict[str, Tensor]:
    """The tensors of one safetensors file.

    Args:
        path: Where it is.
        mend: See `read_json`.

    Raises:
        CheckpointError: If it is missing or damaged.
    """
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; {mend or _again(path)}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); {mend or 'install GeoPix again'}") from error


def read_folder(folder: Path, mend: str, pickles: bool = False) -> dict[str, Tensor]:
    """All tensors of a folder in transformers' layout: one file, or several and an index.

    Args:
        folder: Where they are.
        mend: What the user may do.
        pickles: Whether files in torch's own format may be read where there are no safetensors.

    Raises:
        CheckpointError: If one is missing or damaged, or two files hold a tensor of the same name.
    """
    stems = ["model.safetensors", *(["pytorch_model.bin"] if pickles else [])]
    for stem in stems:
        names = {stem}
        index = folder / f"{stem}.index.json"
        if index.is_file():
            places = read_json(index, mend).get("weight_map")
            names = set(map(str, places.values())) if isinstance(places, dict) else set()
        elif not (folder / stem).is_file():
            continue
        tensors: dict[str, Tensor] = {}
        for name in sorted(names):
            if Path(name).name != name:
                raise CheckpointError(f"{index} names a file outside its folder: {name!r}; {mend}")
            read = read_pickle(folder / name, mend) if stem.endswith(".bin") else read_tensors(folder / name, mend)
            if not isinstance(read, dict):
                raise CheckpointError(f"{folder / name} holds a {type(read).__name__}, expected named tensors; {mend}")
            twice = sorted(tensors.keys() & read.keys())
            if twice:
                raise CheckpointError(f"{folder} holds {twice[0]} in two files; {mend}")
            tensors |= read
        return tensors
    raise CheckpointError(f"{folder} holds no weights ({' or '.join(stems)}); {mend}")


def read_pickle(path: Path, mend: str) -> dict[str, Tensor] | list[Tensor]:
    """Tensors by name, or a list of them, from a file in torch's own format; nothing in it is ever run.

    Raises:
        CheckpointError: If it is missing or damaged, or holds anything else.
    """
    try:
        with warnings.catch_warnings():  # a pickle of another version is told below, where it can't be read
            warnings.simplefilter("ignore", UserWarning)
            # Mapped into memory where the format allows it: of a large bank only the names are needed.
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; {mend}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors, such as code, so it was not read; {mend}"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}); {mend}") from error
    if isinstance(found, dict) and all(isinstance(one, Tensor) for one in found.values()):
        return {str(name): tensor.detach() for name, tensor in found.items()}
    if isinstance(found, (list, tuple)) and all(isinstance(one, Tensor) for one in found):
        return [tensor.detach() for tensor in found]
    raise CheckpointError(f"{path} holds a {type(found).__name__} of more than tensors; {mend}")


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


def _again(path: Path) -> str:
    return f"install GeoPix again, or run: git checkout -- {path}"
