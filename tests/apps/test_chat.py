"""The conversation in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from geopix.apps.cli import app


def talk(image: Path, *lines: str) -> Result:
    result = CliRunner().invoke(app, ["chat", str(image)], input="".join(f"{line}\n" for line in lines))
    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.output
    return result


def test_questions_are_answered_with_a_table_until_the_input_ends(loads: Any, picture: Path) -> None:
    result = talk(picture, "find ships", "", "and the harbor")
    assert "field.png: 60 x 40 pixels" in result.stdout
    assert "Looking" in result.stdout
    assert result.stdout.count("600 px") == 2
    assert "\x1b" not in result.stdout
    assert loads.guide.history == ["find ships", "and the harbor"]
    assert result.stderr == ""


def test_save_writes_the_last_answer_and_never_overwrites_unasked(loads: Any, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "my ships.gpkg"
    result = talk(picture, "/save early.png", "find ships", f"/save '{out}'", f"/save '{out}'", "/save", "/quit", "x")
    assert out.is_file()
    said = result.stderr.splitlines()
    assert "no answer to save" in said[0]
    assert said[1] == f"wrote {out}"
    assert "in pixels" in said[2]
    assert "exists" in said[3]
    assert "takes one file" in said[4]
    assert loads.guide.history == ["find ships"]
    again = talk(picture, "find ships", f"/save --overwrite '{out}'", f"/save {tmp_path}/ships.xyz")
    assert f"wrote {out}" in again.stderr
    assert ".xyz" in again.stderr


def test_the_image_itself_is_never_overwritten(loads: Any, picture: Path) -> None:
    before = picture.read_bytes()
    assert "itself" in talk(picture, "find ships", f"/save --overwrite {picture}").stderr
    assert picture.read_bytes() == before


def test_another_image_starts_anew_and_a_bad_one_changes_nothing(loads: Any, picture: Path, raster: Path) -> None:
    result = talk(picture, "find ships", "/image nowhere.png", "/image", "find more")
    assert len(result.stderr.splitlines()) == 2
    assert loads.guide.history == ["find ships", "find more"]
    result = talk(picture, "find ships", f"/image {raster}", "/save x.png", "find more")
    assert "port.tif: 60 x 40 pixels" in result.stdout
    assert "no answer to save" in result.stderr
    assert "150 m2" in result.stdout
    assert loads.guide.history == ["find more"]


def test_reset_help_and_unknown_commands(loads: Any, picture: Path) -> None:
    result = talk(picture, "find ships", "/reset", "/help", "/dance", "/image it's.png", "/", "nothing")
    assert loads.guide.history == ["nothing"]
    assert "/save FILE" in result.stdout
    assert "no command /dance" in result.stderr
    assert "it's.png" in result.stderr
    assert "there is none" in result.stdout


def test_trouble_ends_an_answer_but_not_the_conversation(loads: Any, picture: Path) -> None:
    result = talk(picture, "crash", "memory", "interrupt the stream", "x" * 3000, "find ships")
    said = result.stderr.splitlines()
    assert len(said) == 4
    assert "unexpected RuntimeError" in said[0]
    assert "not enough memory" in said[1]
    assert said[2] == "cancelled"
    assert "characters" in said[3]
    assert loads.guide.history == ["find ships"]


def test_ctrl_c_at_the_prompt_tells_how_to_leave(loads: Any, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter([KeyboardInterrupt, EOFError])

    def read(prompt: str) -> str:
        raise next(typed)

    monkeypatch.setattr("builtins.input", read)
    assert "/quit leaves" in talk(picture).stdout


def test_a_bad_first_image_is_one_sentence(loads: Any, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["chat", str(tmp_path / "none.png")])
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert loads.calls == []
