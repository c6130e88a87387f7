"""Checkpoints: whole or not there, checked before use, few, and never at the cost of the one before."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from geopix.checkpoint import CheckpointError
from geopix.train.checkpoints import Checkpoint, newest, save


def checkpoint(step: int, measure: float | None = None) -> Checkpoint:
    value = torch.full((3,), float(step))
    return Checkpoint(step, {"master.w": value}, {"running_mean": -value}, measure, {"name": "try"})


def there(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in (folder / "checkpoint").iterdir())


def told_step(folder: Path) -> tuple[int, list[str]]:
    said: list[str] = []
    found = newest(folder, said.append)
    assert found is not None
    assert torch.equal(found.optimizer["master.w"], torch.full((3,), float(found.step)))
    assert torch.equal(found.buffers["running_mean"], torch.full((3,), -float(found.step)))
    return found.step, said


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    assert newest(tmp_path, pytest.fail) is None
    save(tmp_path, checkpoint(7, 0.5), keep_last=1)
    found = newest(tmp_path, pytest.fail)
    assert found is not None
    assert (found.step, found.measure, found.settings) == (7, 0.5, {"name": "try"})
    assert told_step(tmp_path) == (7, [])
    files = {path.name for path in (tmp_path / "checkpoint" / "00000007").iterdir()}
    assert files == {"optimizer.safetensors", "buffers.safetensors", "step.json", "manifest.json"}  # nothing pickled


def test_the_last_ones_and_the_best_stay(tmp_path: Path) -> None:
    for step, measure in ((1, 3.0), (2, 1.0), (3, 2.0), (4, None), (5, 4.0)):
        save(tmp_path, checkpoint(step, measure), keep_last=2)
    assert there(tmp_path) == [2, 4, 5]
    save(tmp_path, checkpoint(6, 0.5), keep_last=1)
    assert there(tmp_path) == [6]


@pytest.mark.parametrize("name", ["optimizer.safetensors", "buffers.safetensors", "step.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["torn", "tampered", "missing"])
def test_a_damaged_one_is_told_and_the_one_before_is_used(tmp_path: Path, name: str, harm: str) -> None:
    for step in (1, 2):
        save(tmp_path, checkpoint(step), keep_last=2)
    path = tmp_path / "checkpoint" / "00000002" / name
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-5] if harm == "torn" else data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    step, said = told_step(tmp_path)
    if (harm, name) != ("tampered", "manifest.json") or said:  # a blank more or less in JSON harms nothing
        assert step == 1
        assert len(said) == 1
        assert "00000002 is damaged" in said[0]
        assert "\n" not in said[0]
    save(tmp_path, checkpoint(2), keep_last=2)  # the run comes there again
    assert told_step(tmp_path) == (2, [])


def test_where_none_is_whole_nothing_begins_anew_by_itself(tmp_path: Path) -> None:
    save(tmp_path, checkpoint(1), keep_last=2)
    (tmp_path / "checkpoint" / "00000001" / "step.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole"):
        newest(tmp_path, lambda text: None)


def old_layout(folder: Path, step: int) -> None:
    folder.mkdir(parents=True)
    save_file({"master.w": torch.full((3,), float(step))}, folder / "optimizer.safetensors")
    save_file({"running_mean": torch.full((3,), -float(step))}, folder / "buffers.safetensors")
    (folder / "step.json").write_text(json.dumps({"step": step}))


@pytest.mark.parametrize("place", ["checkpoint", ".old"])
def test_those_from_before_there_were_manifests_are_read(tmp_path: Path, place: str) -> None:
    old_layout(tmp_path / place, 40)
    assert told_step(tmp_path) == (40, [])
    save(tmp_path, checkpoint(50), keep_last=2)
    assert told_step(tmp_path) == (50, [])
    (tmp_path / "checkpoint" / "00000050" / "step.json").unlink()
    assert told_step(tmp_path)[0] == 40
    save(tmp_path, checkpoint(50), keep_last=2)
    save(tmp_path, checkpoint(60), keep_last=2)
    assert there(tmp_path) == [50, 60]
    assert not (tmp_path / ".old").exists()


FULL: list[Exception] = [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError("I/O error: No space left on device (os error 28)"),
]


@pytest.mark.parametrize("error", FULL, ids=["python", "safetensors"])
@pytest.mark.parametrize("where", ["first file", "second file", "manifest"])
def test_a_full_disk_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    save(tmp_path, checkpoint(1), keep_last=1)
    write = safetensors.torch.save_file

    def full(tensors: dict[str, Any], path: Path) -> None:
        if (where, path.name) in (("first file", "optimizer.safetensors"), ("second file", "buffers.safetensors")):
            path.write_bytes(b"half")
            raise error
        write(tensors, path)

    def full_text(path: Path, *_: Any, **__: Any) -> int:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        if where == "manifest":
            patch.setattr(Path, "write_text", full_text)
        with pytest.raises(CheckpointError, match=r"step 2 could not .* the disk is full; the one of step 1 is intact"):
            save(tmp_path, checkpoint(2), keep_last=1)
    assert there(tmp_path) == [1]
    assert told_step(tmp_path) == (1, [])


def test_a_dropped_one_that_a_kill_left_half_deleted_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, checkpoint(1), keep_last=1)

    def dying(place: Path, **_: Any) -> None:
        if place.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dying)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, checkpoint(2), keep_last=1)
    assert told_step(tmp_path) == (2, [])
    save(tmp_path, checkpoint(3), keep_last=1)
    assert there(tmp_path) == [3]
