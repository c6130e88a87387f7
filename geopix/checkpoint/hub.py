"""A model of the hub as a folder of this machine, and back (§V-A); the network is used for nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from geopix.checkpoint.files import CheckpointError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""An owner and a name, as the hub writes them."""
SAFE = ("*.json", "*.safetensors", "*.jinja", "*.txt")
"""Settings, words and safetensors: nothing that could run."""


def fetch(name: str, more: Sequence[str] = (), weights: bool = True) -> Path:
    """The hub's copy of a model, from the cache where it is there already.

    Args:
        name: "owner/model".
        more: Patterns of files to fetch besides `SAFE`.
        weights: Whether to fetch weights.

    Raises:
        CheckpointError: If it can't be fetched.
    """
    from huggingface_hub import snapshot_download  # only a hub id needs it

    wanted = [pattern for pattern in SAFE if weights or pattern != "*.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=[*wanted, *more]))
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
        raise CheckpointError(
            f"'{name}' is no folder here and could not be fetched from the model hub ({type(error).__name__}); "
            "check the id and the network, or give 'nano' or a folder"
        ) from error


def find(name: str, weights: bool = True) -> Path | None:
    """The folder that a name means: one of this machine, else one of the hub; None where it can be neither.

    Args:
        name: A folder, or "owner/model".
        weights: Whether the hub's weights are wanted, too, or only what is said about them.

    Raises:
        CheckpointError: If the hub can't be reached.
    """
    if name and Path(name).is_dir():
        return Path(name)
    return fetch(name, weights=weights) if HUB_ID.fullmatch(name) else None


def upload(folder: Path, name: str, private: bool) -> str:
    """A folder of this machine as a model of the hub.

    Args:
        folder: All of it goes up.
        name: "owner/model", made if need be.
        private: Whether nobody else may see it, if it is made.

    Returns:
        Its address.

    Raises:
        CheckpointError: If the hub can't be reached, or refuses.
    """
    from huggingface_hub import HfApi

    try:
        made = HfApi().create_repo(name, private=private, exist_ok=True)
        HfApi().upload_folder(repo_id=name, folder_path=folder, commit_message="A GeoPix model")
    except Exception as error:  # as in `fetch`
        raise CheckpointError(
            f"'{name}' could not be written to the model hub ({type(error).__name__}); check the id, the network, and "
            "that you may write there (hf auth login), or give --dry-run OUT"
        ) from error
    return str(made)
