"""Which model a name means, and how it gets onto a device (§V-A)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from geopix.checkpoint import hub, nano
from geopix.checkpoint.files import CheckpointError, read_json
from geopix.checkpoint.folder import load_folder
from geopix.checkpoint.quantize import quantization
from geopix.checkpoint.released import NO_MEMORY, PICKLES, is_release, load_release
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel

_LOG = logging.getLogger(__name__)
"""What a user should know of a model; where nobody listens, Python prints it on stderr."""

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def load(
    name: str = "nano",
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
) -> tuple[GeoPixModel, Dialogue]:
    """A model ready to answer, with the dialogue that its tokenizer speaks.

    Args:
        name: "nano", a folder that `save` wrote or that is laid out as the authors' release, or the hub id of such a
            folder ("owner/model"); only for a hub id the network is used, unless the hub's cache has the model already.
        device: "auto" takes CUDA where there is one.
        dtype: "float32", "bfloat16" or "float16"; "auto" takes what the device is fast in, see `fast_dtype`.
        quantize: "8bit" or "4bit" for the language model's matrices; of a saved folder only.
        device_map: transformers' own ("auto", or part -> device), in place of ``device``; of a saved folder only.

    Raises:
        CheckpointError: Saying what is missing or wrong and the command that helps.
    """
    where = _device(device)
    number = _dtype(dtype, where)
    placing: dict[str, Any] = {}
    if quantize is not None:
        placing["quantization_config"] = quantization(quantize, number)
    if placing or device_map is not None:
        placing["device_map"] = {"": where} if device_map is None else device_map
    model, dialogue = read(name, number, placing)
    if not placing:
        _move(model, where)
    if model.config.mask_path == "released":
        _LOG.warning(NO_MEMORY)
    model.train(False)
    return model, dialogue


def read(
    name: str, dtype: torch.dtype | None = None, placing: Mapping[str, Any] | None = None
) -> tuple[GeoPixModel, Dialogue]:
    """The same as it lies in its files, on the CPU.

    Args:
        name: See `load`.
        dtype: Of the whole model; None keeps every tensor as exact as it was saved.
        placing: See `load_folder`.

    Raises:
        CheckpointError: As `load`.
    """
    _hush()
    folder = nano.NANO if name == "nano" else find(name)
    is_nano = name == "nano" or (folder / "nano.json").is_file()
    if placing and (is_nano or is_release(folder)):
        how = f"geopix push {name} OWNER/NAME --dry-run OUT" if is_nano else f"geopix convert {name} OUT"
        raise CheckpointError(f"only a saved folder can be quantised or spread over devices; make one: {how}")
    if is_nano:
        model, dialogue = nano.load_nano(folder)
        if dtype is not None:
            _move(model, dtype)
    else:
        # Read in its precision and not brought to it: what was never saved (where words stand) then keeps its own.
        model, dialogue = _load_folder(folder, dtype, placing)
    if not is_nano and not Path(name).is_dir():
        model.config.about.setdefault("base_model", name)
    return model, dialogue


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, float32 elsewhere."""
    if device.type == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        native = torch.cuda.is_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def find(name: str) -> Path:
    """The folder that a name means, of this machine or the hub.

    Raises:
        CheckpointError: If there is none, or the hub can't be reached.
    """
    folder = hub.find(name)
    if folder is None:
        raise CheckpointError(f"there is no model '{name}': give 'nano' or a folder that holds a saved GeoPix model")
    if is_release(folder) and not Path(name).is_dir():
        return hub.fetch(name, PICKLES)  # of this layout only, and read as tensors only
    return folder


def _load_folder(
    folder: Path, dtype: torch.dtype | None, placing: Mapping[str, Any] | None
) -> tuple[GeoPixModel, Dialogue]:
    if is_release(folder):
        return load_release(folder, dtype)
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder} holds neither nano.json nor config.json, so it is no GeoPix model; "
            "give 'nano' or a folder that geopix.checkpoint.save wrote"
        )
    kind = read_json(folder / "config.json").get("model_type")
    if kind != "geopix":
        raise CheckpointError(f"{folder} holds a model of type {kind!r}, not 'geopix'; give 'nano' or another folder")
    return load_folder(folder, dtype, placing)


def _hush() -> None:
    """Their progress bars and reports of tensors are for developers; what matters is checked and said by us."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _move(model: nn.Module, where: torch.device | torch.dtype) -> None:
    """In place, by torch's own typed method."""
    model.to(where)


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return fast_dtype(device)
    if name not in get_args(Dtype):
        raise CheckpointError(f"'{name}' is no precision: give {', '.join(get_args(Dtype))}")
    return getattr(torch, name)  # type: ignore[no-any-return]


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise CheckpointError("there is no CUDA device here; use --device cpu, or install a CUDA build of torch")
    if device not in ("cpu", "cuda"):
        raise CheckpointError(f"'{device}' is no device: give auto, cpu or cuda")
    return torch.device(device)
