"""``geopix train``: what it hands to the stage, and what it says when it can't."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geopix.apps.cli import app

Call = tuple[Path, list[str], Path, Path, Path | None]

STAGE = "name: {name}\nlanguage: {language}\nsources: {{vhr: 1.0}}\nsteps: 3\n"


class Stage:
    """A stand-in for `geopix.train.run.run_stage` that remembers its calls and may fail."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.trouble: BaseException | None = None

    def __call__(self, config: Path, overrides: Sequence[str], data: Path, folder: Path, export: Path | None) -> None:
        self.calls.append((config, list(overrides), data, folder, export))
        if self.trouble is not None:
            raise self.trouble
        print("a library says hello on stdout")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stand_in = Stage()
    monkeypatch.setattr("geopix.train.run.run_stage", stand_in)
    return stand_in


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., list[str]]:
    """The words of a good command; ``language`` picks the kind of stage."""

    def words(language: str = "dialogue") -> list[str]:
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "stage.yaml").write_text(STAGE.format(name="small", language=language))
        folders = ["--data", str(tmp_path / "data"), "--runs", str(tmp_path / "runs")]
        return ["train", str(tmp_path / "stage.yaml"), *folders]

    return words


def fails(words: list[str], code: int = 1) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code, result.output
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert result.stdout == ""
    return result.stderr.strip()


def test_it_hands_over_settings_and_folders(stage: Stage, command: Callable[..., list[str]], tmp_path: Path) -> None:
    export = tmp_path / "made" / "nano"
    result = CliRunner().invoke(app, [*command(), "steps=2", "loss.dice=1.0", "--export", str(export)])
    assert result.exit_code == 0, result.output
    assert stage.calls == [
        (tmp_path / "stage.yaml", ["steps=2", "loss.dice=1.0"], tmp_path / "data", tmp_path / "runs", export)
    ]
    assert (tmp_path / "runs").is_dir()
    assert result.stdout == ""
    assert f"small is done: {tmp_path / 'runs' / 'small'}" in result.stderr
    assert f"wrote {export}" in result.stderr


def test_help_teaches_by_example() -> None:
    result = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"})
    assert "geopix train configs/nano_joint.yaml steps=200" in result.stdout
    assert "Run the same command again" in result.stdout
    assert all(name in result.stdout for name in ("nwpu_vhr10", "sen2ships", "ucm", "gdit_airport", "aid_rsicd"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--data": "nowhere"}, "there is no data folder nowhere"),
        ({"--runs": "stage.yaml"}, "is a file, where a folder was expected"),
        ({"--export": "stage.yaml"}, "is a file, where a folder was expected"),
    ],
)
def test_wrong_folders(
    change: dict[str, str],
    said: str,
    stage: Stage,
    command: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = command()
    monkeypatch.chdir(tmp_path)
    assert said in fails([*words, *(word for pair in change.items() for word in pair)])
    assert stage.calls == []


def test_a_stage_of_kept_answers_makes_a_model_too(
    stage: Stage, command: Callable[..., list[str]], tmp_path: Path
) -> None:
    still = ["part_rates.language=0", "part_rates.multimodal_projector=0"]
    result = CliRunner().invoke(app, [*command("answers"), *still, "--export", str(tmp_path / "nano")])
    assert result.exit_code == 0, result.output
    assert [call[-1] for call in stage.calls] == [tmp_path / "nano"]


def test_wrong_settings(stage: Stage, command: Callable[..., list[str]], tmp_path: Path) -> None:
    words = command()
    assert "steps" in fails([*words, "steps=none"])
    assert "key=value" in fails([*words, "steps"])
    (tmp_path / "stage.yaml").unlink()
    assert "there is no settings file" in fails(words)
    assert "no adapter to export" in fails([*command("phrases"), "--export", str(tmp_path / "nano")])
    assert stage.calls == []


def test_an_unknown_store_is_told_before_anything_loads(
    command: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("geopix.checkpoint.fresh_nano", load)
    said = fails([*command(), "sources.moon=0.5"])
    assert "'moon'" in said
    assert "vhr" in said


@pytest.mark.parametrize(
    ("trouble", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped small; run the same command again to continue"),
        (FloatingPointError("the loss of step 7 is nan"), 1, "lower learning_rate"),
        (MemoryError(), 1, "not enough memory"),
    ],
)
def test_trouble_is_one_sentence(
    trouble: BaseException, code: int, said: str, stage: Stage, command: Callable[..., list[str]]
) -> None:
    stage.trouble = trouble
    assert said in fails(command(), code)


def test_a_missing_data_set_is_named(stage: Stage, command: Callable[..., list[str]], tmp_path: Path) -> None:
    words = command()
    missing = tmp_path / "data" / "nwpu_vhr10" / "split.json"
    stage.trouble = FileNotFoundError(2, "No such file", str(missing))
    assert f"{missing} is missing, and small reads it" in fails(words)
    stage.trouble = FileNotFoundError(2, "No such file", str(tmp_path / "elsewhere"))
    assert "there is no such file or folder" in fails(words)
