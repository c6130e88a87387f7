"""Bars: where they stand in the end, on stderr."""

from __future__ import annotations

import pytest

from geopix.apps import show


def test_a_count_goes_on_from_what_was_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    bad: list[int] = []
    with show.counting("answering", 9, lambda: f"{len(bad)} with an error", done=3):
        pass
    untouched = capsys.readouterr()
    with show.counting("answering", 9, lambda: f"{len(bad)} with an error", done=3) as moved:
        bad.append(4)
        moved(5)
    told = capsys.readouterr()
    assert (untouched.out, told.out) == ("", "")
    assert "answering" in untouched.err
    assert "3/9" in untouched.err
    assert "5/9" in told.err
    assert told.err.rstrip().endswith("1 with an error")
    assert "left:" in told.err


def test_everything_watched_has_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with show.watched() as watch:
        watch("reading", 1, 4)
        watch("writing", 1, 2)
        watch("reading", 4, 4)
    told = capsys.readouterr()
    reading, writing = told.err.strip().splitlines()
    assert told.out == ""
    assert reading.startswith("reading")
    assert "100%" in reading
    assert writing.startswith("writing")
    assert " 50%" in writing
