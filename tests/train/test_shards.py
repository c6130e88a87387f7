"""Two processes with the language model in shares (FSDP2, on gloo) do what one with the whole of it does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from geopix import checkpoint
from geopix.checkpoint import from_llava
from tests.tiny_llava import SMALL, llava_tokenizer, tiny_llava, write_llava
from tests.tiny_run import die_at, free_port, in_another_process, one_of, spoil, stage_of
from tests.tiny_set import tiny_set

STAGE: dict[str, Any] = {"images": 1, "global_batch": 6, "steps": 4, "checkpoint_every": 2, "keep_last": 1}
"""Three micro-batches an update, so one of two processes has nothing to do in the last turn."""
SPOILED = 3 + 1
"""The second micro-batch of the second update, which the second process computes."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny LLaVA, a set, and a stage of three steps with three micro-batches each."""
    tokenizer = llava_tokenizer()
    write_llava(tiny_llava(tokenizer), tokenizer, tmp_path / "llava")
    tiny_set(tmp_path / "data" / "set")
    given = {
        "name": "stage", "model": str(tmp_path / "llava"), "sources": {"set": 1}, "features": "each_step",
        "architecture": {**SMALL, "class_names": ["ship", "harbor"]}, "images": 1, "turns": 2, "global_batch": 6,
        "targets": 4, "lora_rank": 4, "lora_alpha": 4, "steps": 3, "warmup": 1, "dtype": "float32",
    }  # fmt: skip
    (tmp_path / "stage.yaml").write_text(yaml.safe_dump(given))
    return tmp_path


def alone(folder: Path, **given: Any) -> list[partial[None]]:
    return [partial(one_of, 0, 1, free_port(), folder, "dialogue", **{**STAGE, **given})]


def in_shares(folder: Path, **given: Any) -> list[partial[None]]:
    port = free_port()
    return [partial(one_of, rank, 2, port, folder, "dialogue", sharded=True, **{**STAGE, **given}) for rank in range(2)]


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "try" / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def manifest(folder: Path, step: int) -> str:
    """The sha256 of masters, moments, the bank's rows and statistics."""
    return (folder / "try" / "checkpoint" / f"{step:08d}" / "manifest.json").read_text()


def test_it_has_the_losses_of_one_process(tmp_path: Path) -> None:
    """LoRA with dropout, new words, the bank's rows.

    A micro-batch that is left out is one of the second process; the first takes part in looking for whose fault it is.
    """
    one, two = tmp_path / "one", tmp_path / "two"
    given = {"dtype": "float32", "on_bad_loss": "skip", "change": partial(spoil, SPOILED)}
    assert in_another_process(*alone(one, **given), *in_shares(two, **given)) == [0, 0, 0]
    ours, theirs = metrics(one), metrics(two)
    assert [len(line.get("skipped", [])) for line in theirs] == [0, 1, 0, 0]
    assert sum(line["targets"] for line in theirs) > 3  # so rows of the bank were touched
    for line, other in zip(ours, theirs, strict=True):
        assert line.pop("skipped", None) == other.pop("skipped", None)
        assert line == pytest.approx(other, rel=1e-5, abs=1e-5)
    first, second = load_file(two / "0.safetensors"), load_file(two / "1.safetensors")
    for name, tensor in first.items():
        if "num_batches_tracked" not in name:  # a counter that nothing reads
            assert torch.equal(tensor, second[name]), name


def test_killed_it_goes_on_in_shares_or_whole(tmp_path: Path) -> None:
    """In bfloat16, layers computed anew; the second process dies in the middle of the last update, and the first can't
    go on without it."""
    unbroken, broken, whole = tmp_path / "unbroken", tmp_path / "broken", tmp_path / "whole"
    given = {"gradient_checkpointing": True}
    dying = in_shares(broken, change=partial(die_at, 3 * 3 + 1), **given)
    done, other, stopped, killed = in_another_process(*in_shares(unbroken, **given), *dying)
    assert (done, other, killed) == (0, 0, -9)
    assert stopped > 0
    assert [path.name for path in (broken / "try" / "checkpoint").iterdir()] == ["00000002"]
    shutil.copytree(broken / "try", whole / "try")
    assert in_another_process(*in_shares(broken, **given), *alone(whole, **given)) == [0, 0, 0]
    assert metrics(broken) == metrics(unbroken)
    assert manifest(broken, 4) == manifest(unbroken, 4)
    ours, theirs = metrics(whole), metrics(unbroken)
    assert ours[:2] == theirs[:2]
    for line, its in zip(ours[2:], theirs[2:], strict=True):
        assert line["loss"] == pytest.approx(its["loss"], rel=1e-2)  # sums in another order, rounded to bfloat16


def test_a_stage_in_shares_ends_as_a_whole_model(folder: Path) -> None:
    """From its settings file to a model that can be asked: what is exported is made whole again."""
    calls = [partial(stage_of, 0, 1, free_port(), folder, "whole")]
    port = free_port()
    calls += [partial(stage_of, rank, 2, port, folder, "shares") for rank in range(2)]
    assert in_another_process(*calls) == [0, 0, 0]
    ours, theirs = (load_file(folder / kind / "made" / "model.safetensors") for kind in ("whole", "shares"))
    assert ours.keys() == theirs.keys()
    frozen = "language.llm.model.layers.0.self_attn.q_proj.weight"
    before = from_llava(str(folder / "llava"), SMALL)[0].state_dict()[frozen]
    assert not torch.equal(ours[frozen], before)  # the adapter is in it
    for name, tensor in ours.items():
        if "memory.fusion" not in name:  # batch norm there makes rounding large, see test_survival
            assert torch.allclose(tensor, theirs[name], rtol=0, atol=2e-5), name


@pytest.mark.slow
def test_accelerate_launches_a_stage_in_shares(folder: Path) -> None:
    """The command that users give, on two CPUs; its start alone takes half a minute."""
    file = Path(__file__).parents[2] / "configs" / "accelerate" / "two_cpus_fsdp2.yaml"
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(file),
        "--main_process_port",
        "0",
    ]
    words = ["-m", "geopix", "train", str(folder / "stage.yaml"), "--data", str(folder / "data")]
    for options in (
        ["--runs", str(folder / "runs")],
        ["--runs", str(folder / "runs"), "--export", str(folder / "made")],
    ):
        done = subprocess.run(
            [*launch, *words, *options], capture_output=True, text=True, timeout=600, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert len((folder / "runs" / "stage" / "metrics.jsonl").read_text().splitlines()) == 3
    assert checkpoint.load(str(folder / "made"), device="cpu")
