"""Settings: what a file says is what a stage gets, and every mistake is named with its file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from geopix.config import ConfigError, Stage, load

GOOD = """
name: small
sources: {vhr: 0.9, ports: 0.1}
steps: 10
learning_rate: 3e-4
loss: {dice: 1.5}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(GOOD)
    return path


def test_what_is_not_said_takes_its_default(settings: Path) -> None:
    stage = load(settings)
    assert stage == Stage.model_validate(
        {
            "name": "small",
            "sources": {"vhr": 0.9, "ports": 0.1},
            "steps": 10,
            "learning_rate": 0.0003,
            "loss": {"dice": 1.5},
        }
    )
    assert stage.language == "dialogue"
    assert (stage.loss.word, stage.loss.bce, stage.loss.dice) == (1.0, 2.0, 1.5)


def test_overrides_win_and_reach_inside(settings: Path) -> None:
    stage = load(settings, ["steps=7", "loss.bce=0.5"])
    assert (stage.steps, stage.loss.bce, stage.loss.dice) == (7, 0.5, 1.5)
    stage = load(settings, ["sources={ucm: 1}", "refine=false", "start_from=[a, b]", "part_rates={language: 0}"])
    assert stage.sources == {"ucm": 1.0}
    assert not stage.refine
    assert stage.start_from == ("a", "b")
    assert stage.part_rates == {"language": 0.0}


def test_the_longest_prefix_sets_the_rate_of_a_part(settings: Path) -> None:
    rates = "part_rates={mask_predictor: 0.5, mask_predictor.memory: 3, language: 0}"
    stage = load(settings, [rates, "learning_rate=0.25"])
    assert stage.rate_of("mask_predictor.memory.bank") == 0.75
    assert stage.rate_of("mask_predictor.scale_weights") == 0.125
    assert stage.rate_of("language.llm.weight") == 0
    assert stage.rate_of("scale_projectors.0.norm.weight") == 0.25


def test_an_override_makes_a_section_that_the_file_leaves_out_or_empty(settings: Path) -> None:
    settings.write_text(GOOD.replace("loss: {dice: 1.5}", "loss:"))
    assert load(settings, ["loss.iou=0.9", "part_rates.language=0"]).loss.iou == 0.9


@pytest.mark.parametrize(
    ("override", "key", "reason"),
    [
        ("stepps=7", "stepps", "not permitted"),
        ("loss.dize=1", "loss.dize", "not permitted"),
        ("steps=many", "steps", "valid integer"),
        ("steps=0", "steps", "greater than 0"),
        ("sources={}", "sources", "at least 1"),
        ("sources.vhr=-1", "sources.vhr", "greater than or equal to 0"),
        ("language=sound", "language", "'phrases', 'words', 'dialogue' or 'answers'"),
        ("learning_rate=.nan", "learning_rate", "greater than 0"),
        ("start_from=nano_mask", "start_from", "valid tuple"),
        ("betas=[0.9]", "betas.1", "required"),
        ("steps.more=1", "steps.more", "steps is 10"),
        ("steps=[1", "steps", "not a YAML value"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(settings: Path, override: str, key: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(settings, [override])
    message = str(caught.value)
    assert message.startswith(f"{settings}: {key}: ")
    assert reason in message


STILL = {"language": 0, "multimodal_projector": 0}


@pytest.mark.parametrize(
    ("rates", "more", "reason"),
    [
        ({}, {"steps": 3}, "part_rates: set language to 0"),
        ({"language": 0}, {"steps": 3}, "part_rates: set multimodal_projector to 0"),
        ({**STILL, "language.llm": 0.1}, {"steps": 3}, "part_rates: set language.llm to 0"),
        (STILL, {"steps": 3, "relations_in_words": True}, "part_rates: set mask_predictor.ordinal to 0"),
        (STILL, {"epochs": 2}, "give it steps, not epochs"),
        ({}, {"steps": 3, "language": "phrases", "masks": False}, "masks: false is for a stage of answers"),
    ],
)
def test_what_kept_answers_are_made_with_stays(rates: dict[str, float], more: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Stage.model_validate({"name": "try", "language": "answers", "sources": {"vhr": 1}, "part_rates": rates, **more})


def test_a_missing_setting_is_named(settings: Path) -> None:
    settings.write_text("name: small\nsteps: 3\n")
    with pytest.raises(ConfigError, match="sources: Field required"):
        load(settings)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"- a\n- b\n", "holds list, not settings"),
        (b"", "holds NoneType, not settings"),
        (b"name: [", "can't be read as YAML"),
        (b"\xff\xfe\x00", "can't be read as YAML"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(settings: Path, content: bytes, reason: str) -> None:
    settings.write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        load(settings)
    assert str(settings) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_bare_word_are_refused(settings: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml can't be read"):
        load(settings.with_name("none.yaml"))
    with pytest.raises(ConfigError, match="'steps' is not of the form key=value"):
        load(settings, ["steps"])


def test_settings_do_not_change_under_a_run(settings: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(settings).steps = 3
