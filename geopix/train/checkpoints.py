"""Checkpoints of a stage: there as a whole or not at all, and checked before they are used (§V-A).

A stage's folder holds ``checkpoint/00000250/`` and so on: ``optimizer.safetensors`` (masters, moments, the bank's
rows), ``buffers.safetensors``, ``step.json``, and ``manifest.json`` with the size and sha256 of these three. Random
numbers are a function of the seed and the step (`geopix.train.loop`), so the step is all there is to keep of them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from geopix.checkpoint import CheckpointError

TENSORS = ("optimizer", "buffers")
_FILES = (*(f"{name}.safetensors" for name in TENSORS), "step.json")
_MANIFEST = "manifest.json"
_WRITING, _GOING = ".writing", ".going"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    ``step`` is the number of updates made; ``optimizer`` as `MasterAdamW.state` gives it; ``buffers`` the running
    statistics by name; ``measure`` what it is compared by, the smaller the better (None: not known).
    """

    step: int
    optimizer: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    measure: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def save(folder: Path, checkpoint: Checkpoint, keep_last: int) -> None:
    """Write a checkpoint beside the others, then drop all but the last ones and the best.

    Args:
        folder: The stage's folder.
        checkpoint: What to write.
        keep_last: How many of the newest stay.

    Raises:
        CheckpointError: If the disk is full or can't be written; those written before are as they were.
    """
    root = folder / "checkpoint"
    staging, final = root / _WRITING, root / f"{checkpoint.step:08d}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        _drop(staging)
        staging.mkdir()
        try:
            _write(staging, checkpoint)
            _drop(final)  # one that was found damaged, or the run would not be here again
            staging.replace(final)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        _sync(root)
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error)
        reason = "the disk is full" if full else " ".join(str(error).split())
        before = [int(one.name) for one in _steps(root) if one != final]
        intact = f"the one of step {before[0]} is intact" if before else "there is none before it"
        raise CheckpointError(
            f"the checkpoint of step {checkpoint.step} could not be written to {root}: {reason}; {intact}; make room "
            "and run the same command again to go on from there"
        ) from error
    _prune(root, checkpoint.step, keep_last)


def _write(staging: Path, checkpoint: Checkpoint) -> None:
    for name in TENSORS:
        tensors = {key: tensor.contiguous() for key, tensor in getattr(checkpoint, name).items()}
        safetensors.torch.save_file(tensors, staging / f"{name}.safetensors")
    facts = {"step": checkpoint.step, "measure": checkpoint.measure, "settings": dict(checkpoint.settings)}
    (staging / "step.json").write_text(json.dumps(facts), encoding="utf-8")
    files = {name: _fingerprint(staging / name) for name in _FILES}
    (staging / _MANIFEST).write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")
    for name in (*_FILES, _MANIFEST):
        _sync(staging / name)
    _sync(staging)


def newest(folder: Path, tell: Tell) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None where there is none at all.

    Args:
        folder: The stage's folder; those written before there were manifests are read, too.
        tell: Told one sentence about every one that is damaged.

    Raises:
        CheckpointError: If there are some and none is whole.
    """
    root = folder / "checkpoint"
    candidates = _steps(root)
    candidates += [old for old in (root, folder / ".old") if (old / "step.json").is_file()]
    for place in candidates:
        try:
            return _read(place, whole=place.parent == root)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            reason = error.args[0] if isinstance(error, CheckpointError) else " ".join(str(error).split())
            tell(f"the checkpoint {place} is damaged ({reason}); the one before it is used")
    if candidates:
        raise CheckpointError(
            f"no checkpoint in {root} is whole, so the training can't go on from one; delete the folder to begin anew"
        )
    return None


def trained(folder: Path) -> set[str]:
    """The names of the parameters that a stage's newest checkpoint holds; of one that can't be read, none."""
    for place in _steps(folder / "checkpoint"):
        try:
            with safetensors.safe_open(place / "optimizer.safetensors", "pt") as file:
                names: list[str] = file.keys()
        except (OSError, SafetensorError):
            continue
        kept = (name.partition(".")[2] for name in names if name.startswith(("whole.", "master.")))
        return {name.split("[")[0] for name in kept}  # of a bank's rows, the bank
    return set()


def _read(place: Path, whole: bool) -> Checkpoint:
    if whole:  # of our layout, so there must be a manifest
        files = json.loads((place / _MANIFEST).read_text(encoding="utf-8"))["files"]
        for name in _FILES:
            if _fingerprint(place / name) != files[name]:
                raise CheckpointError(f"{name} is not what its manifest says")
    facts = json.loads((place / "step.json").read_text(encoding="utf-8"))
    tensors = {name: safetensors.torch.load_file(place / f"{name}.safetensors") for name in TENSORS}
    measure = facts.get("measure")
    return Checkpoint(
        int(facts["step"]),
        tensors["optimizer"],
        tensors["buffers"],
        None if measure is None else float(measure),
        dict(facts.get("settings", {})),
    )


def _steps(root: Path) -> list[Path]:
    """Checkpoints of our layout, the newest first."""
    found = root.iterdir() if root.is_dir() else ()
    return sorted((one for one in found if one.name.isdecimal() and one.is_dir()), reverse=True)


def _prune(root: Path, step: int, keep_last: int) -> None:
    """Drop what is neither among the last nor the best, and what lies ahead: damaged ones from before a restart."""
    there = [one for one in _steps(root) if int(one.name) <= step]
    measured = {one: value for one in there if (value := _measure(one)) is not None}
    kept = {*there[:keep_last], *([min(measured, key=lambda one: measured[one])] if measured else [])}
    for one in _steps(root):
        if one not in kept:
            _drop(one)
    if len(there) > 1:  # enough to go on from: what the layout before this one left is not needed any more
        for name in _FILES:
            (root / name).unlink(missing_ok=True)
        shutil.rmtree(root.parent / ".old", ignore_errors=True)


def _measure(place: Path) -> float | None:
    try:
        value = json.loads((place / "step.json").read_text(encoding="utf-8"))["measure"]
        return None if value is None else float(value)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _drop(place: Path) -> None:
    """Delete a folder; killed in the middle, it is no checkpoint any more."""
    going = place.parent / _GOING
    shutil.rmtree(going, ignore_errors=True)
    if place.exists():
        place.replace(going)
        shutil.rmtree(going, ignore_errors=True)


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _sync(path: Path) -> None:
    """Ask the disk to hold what was written; a folder holds its names."""
    if path.is_dir() and os.name == "nt":  # there a folder can't be opened
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
