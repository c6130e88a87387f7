"""The learning curve: order of the stages, restarts, smoothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runs import learning_curve


def _write(folder: Path, rows: list[dict[str, Any]], rest: str = "") -> None:
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + rest)


def test_a_step_that_ran_twice_counts_once(tmp_path: Path) -> None:
    rows = [{"step": step, "seconds": 30.0, "mask_iou": 0.1 * step} for step in (0, 1, 2)]
    _write(tmp_path / "nano_mask", [*rows, {"step": 2, "seconds": 60.0, "mask_iou": 0.9}], rest='{"step": 3, "sec')
    curve = learning_curve.read(tmp_path / "nano_mask")
    assert curve.minutes.tolist() == [0.5, 1.0, 2.0]
    assert curve.iou.tolist() == pytest.approx([0.0, 0.1, 0.9])


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "nano_mask", [{"step": 0, "seconds": 1.0}], rest="?\n{}\n")
    with pytest.raises(ValueError, match="line 2"):
        learning_curve.read(tmp_path / "nano_mask")


def test_smoothing_leaves_out_what_is_not_known() -> None:
    values = np.array([np.nan, 1.0, np.nan, 3.0, 5.0])
    np.testing.assert_allclose(learning_curve.smooth(values, 2), [np.nan, 1.0, 1.0, 3.0, 4.0])


def test_nothing_to_draw_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path / "nano_mask", [])
    for name, said in (("nano_mask", "holds no step yet"), ("nano_words", "No such file")):
        assert learning_curve.main([str(tmp_path / name), "-o", str(tmp_path / "a.png")]) == 1
        assert said in capsys.readouterr().err


def test_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path / "nano_words", [{"step": 0, "seconds": 60.0, "word": 0.4}])
    _write(tmp_path / "nano_search", [{"step": step, "seconds": 6.0, "mask_iou": 0.2} for step in range(10)])
    stages = [str(tmp_path / name) for name in ("nano_search", "nano_words")]
    assert learning_curve.main([*stages, "-o", str(tmp_path / "curve.png")]) == 0
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.splitlines()[:2] == [
        "nano_search: 10 steps, 1.0 minutes",
        "nano_words: 1 steps, 1.0 minutes",
    ]
