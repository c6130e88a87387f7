"""Which model a name means, and how it gets onto a device (§V-A)."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from geopix.checkpoint import hub, nano
from geopix.checkpoint.files import CheckpointError, read_json
from geopix.checkpoint.folder import load_folder, save
from geopix.checkpoint.released import NO_MEMORY, PICKLES, is_release, load_release
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel

_LOG = logging.getLogger(__name__)
"""What a user should know of a model; where nobody listens, Python prints it on stderr."""

Device = Literal["auto", "cpu", "cuda"]


def load(name: str = "nano", device: str = "auto") -> tuple[GeoPixModel, Dialogue]:
    """A model ready to answer, with the dialogue that its tokenizer speaks.

    Args:
        name: "nano", a folder that `save` wrote or that is laid out as the authors' release, or the hub id of such a
            folder ("owner/model"); only for a hub id the network is used, unless the hub's cache has the model already.
        device: "auto" takes CUDA where there is one.

    Raises:
        CheckpointError: Saying what is missing or wrong and the command that helps.
    """
    where = _device(device)
    dtype = fast_dtype(where)
    _hush()
    folder = nano.NANO if name == "nano" else _folder(name)
    if (folder / "nano.json").is_file() or name == "nano":
        model, dialogue = nano.load_nano(folder)
        _move(model, where, dtype)
    else:
        # Read in its precision and not brought to it: what was never saved (where words stand) then keeps its own.
        model, dialogue = _load_folder(folder, dtype)
        _move(model, where)
    if model.config.mask_path == "released":
        _LOG.warning(NO_MEMORY)
    model.train(False)
    return model, dialogue


def convert(name: str, out: Path) -> None:
    """Write the authors' release as a folder of ours, safetensors only; whole, or not at all.

    Args:
        name: A folder laid out as the release, or a hub id.
        out: Made; it may exist if it is empty.

    Raises:
        CheckpointError: If ``out`` holds something, or as `load`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} exists and is no empty folder; name a new one")
    _hush()
    folder = _folder(name)
    if not is_release(folder):
        raise CheckpointError(
            f"{folder} is not laid out as the authors' release (vlm, seg, pec, clm); give one that is"
        )
    model, dialogue = load_release(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        save(model, dialogue, staging)
        staging.replace(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, float32 elsewhere."""
    if device.type == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        native = torch.cuda.is_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def _folder(name: str) -> Path:
    """The folder that a name means, of this machine or the hub."""
    folder = hub.find(name)
    if folder is None:
        raise CheckpointError(f"there is no model '{name}': give 'nano' or a folder that holds a saved GeoPix model")
    if is_release(folder) and not Path(name).is_dir():
        return hub.fetch(name, PICKLES)  # of this layout only, and read as tensors only
    return folder


def _load_folder(folder: Path, dtype: torch.dtype) -> tuple[GeoPixModel, Dialogue]:
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
    return load_folder(folder, dtype)


def _hush() -> None:
    """Their progress bars and reports of tensors are for developers; what matters is checked and said by us."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def _move(model: nn.Module, device: torch.device, dtype: torch.dtype | None = None) -> None:
    """In place, by torch's own typed method."""
    model.to(device, dtype)


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise CheckpointError("there is no CUDA device here; use --device cpu, or install a CUDA build of torch")
    if device not in ("cpu", "cuda"):
        raise CheckpointError(f"'{device}' is no device: give auto, cpu or cuda")
    return torch.device(device)
