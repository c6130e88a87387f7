"""Which model a name means, and how it gets onto a device (§V-A)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from geopix.checkpoint import nano
from geopix.checkpoint.files import CheckpointError, read_json
from geopix.checkpoint.folder import load_folder
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

Device = Literal["auto", "cpu", "cuda"]


def load(name: str = "nano", device: str = "auto") -> tuple[GeoPixModel, Dialogue]:
    """A model ready to answer, with the dialogue that its tokenizer speaks.

    Args:
        name: "nano", a folder that `save` wrote, or the hub id of such a folder ("owner/model"); only for a hub id
            the network is used, unless the hub's cache has the model already.
        device: "auto" takes CUDA where there is one.

    Raises:
        CheckpointError: Saying what is missing or wrong and the command that helps.
    """
    where = _device(device)
    # Their progress bars and reports of tensors are for developers; what matters is checked and said below.
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    if name == "nano":
        model, dialogue = nano.load_nano(nano.NANO)
    elif name and Path(name).is_dir():
        model, dialogue = _load_folder(Path(name))
    elif _HUB_ID.fullmatch(name):
        model, dialogue = _load_folder(_from_hub(name))
    else:
        raise CheckpointError(f"there is no model '{name}': give 'nano' or a folder that holds a saved GeoPix model")
    _convert(model, where, fast_dtype(where))
    model.train(False)
    return model, dialogue


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, float32 elsewhere."""
    if device.type == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        native = torch.cuda.is_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def _from_hub(name: str) -> Path:
    """The hub's copy of a model, settings and safetensors only: nothing that could run."""
    from huggingface_hub import snapshot_download  # only a hub id needs it

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.txt"]))
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
        raise CheckpointError(
            f"'{name}' is no folder here and could not be fetched from the model hub ({type(error).__name__}); "
            "check the id and the network, or give 'nano' or a folder"
        ) from error


def _load_folder(folder: Path) -> tuple[GeoPixModel, Dialogue]:
    if (folder / "nano.json").is_file():
        return nano.load_nano(folder)
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder} holds neither nano.json nor config.json, so it is no GeoPix model; "
            "give 'nano' or a folder that geopix.checkpoint.save wrote"
        )
    kind = read_json(folder / "config.json").get("model_type")
    if kind != "geopix":
        raise CheckpointError(f"{folder} holds a model of type {kind!r}, not 'geopix'; give 'nano' or another folder")
    return load_folder(folder)


def _convert(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
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
