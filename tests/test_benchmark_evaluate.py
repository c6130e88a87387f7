"""The benchmark of scoring measures the same numbers by both ways, on masks that are the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import evaluate


def test_both_ways_agree_on_a_file_that_is_always_the_same(tmp_path: Path) -> None:
    path, again = tmp_path / "answers.jsonl", tmp_path / "again.jsonl"
    for one in (path, again):
        evaluate.write(one, 40, 100)
    assert path.read_bytes() == again.read_bytes()
    ours, plain = (part(path, 40, 100) for part in evaluate.PARTS.values())
    for name in ("mIoU, mean over masks", "cIoU", "P@0.5, IoU ≥ 0.5"):
        assert ours[name] == pytest.approx(plain[name])
    assert 0.5 < ours["boundary IoU"] < ours["mIoU, mean over masks"] < 1
