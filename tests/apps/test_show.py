"""Bars: where they stand in the end, on stderr."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

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


@pytest.mark.parametrize(("width", "told"), [(80, ["LISA", "  kind: system", "  year: 2023"]), (200, None)])
def test_a_table_too_wide_for_its_place_is_told_in_lines(width: int, told: list[str] | None) -> None:
    heads = ["", "kind", *(f"column {number}" for number in range(8)), "year"]
    file = StringIO()
    console = Console(file=file, width=width)
    show.rows(console, heads, [["LISA", "system", *[""] * 8, "2023"]])
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    if told is None:
        assert lines[0].split()[0] == "kind"
        assert lines[1].split() == ["LISA", "system", "2023"]
    else:
        assert lines == told


def test_a_file_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert show.paper(150).width == 150
