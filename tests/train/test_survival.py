"""Training in real processes: killed at any moment it ends where an unbroken run does, and two do the work of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny_run import free_port, in_another_process, killed, one_of

STAGE: dict[str, Any] = {"images": 1, "global_batch": 6, "steps": 5, "checkpoint_every": 2, "keep_last": 1}


def metrics(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "try" / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def test_killed_at_three_moments_it_ends_bit_for_bit_where_an_unbroken_run_does(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_another_process(partial(killed, whole, "never", 0, **STAGE)) == [0]
    seen = []
    for moment, place in (("reported", 0), ("fed", 3 * 3 + 1), ("half", 2), ("renamed", 4)):
        assert in_another_process(partial(killed, broken, moment, place, **STAGE)) == [-9]
        there = {path.name for path in (broken / "try").glob("checkpoint/*")}
        seen.append((len(metrics(broken)), there))
    # the second dies in the middle of an update, the third and fourth while they write
    assert seen == [
        (1, set()),
        (3, {"00000002"}),
        (4, {"00000002", ".writing"}),
        (4, {"00000002", ".writing"}),
    ]
    assert in_another_process(partial(killed, broken, "never", 0, **STAGE)) == [0]
    assert len(metrics(whole)) == 5
    assert metrics(broken) == metrics(whole)
    manifests = [
        (folder / "try" / "checkpoint" / "00000005" / "manifest.json").read_text() for folder in (whole, broken)
    ]
    assert manifests[0] == manifests[1]  # the sha256 of weights, moments, statistics and of what is said of them
    assert not (broken / "try" / "checkpoint" / ".writing").exists()


def test_two_processes_do_the_work_of_one(tmp_path: Path) -> None:
    """Three micro-batches an update on two processes, the bank's rows and batch norm's statistics included."""
    settings = {**STAGE, "steps": 4, "dtype": "float32", "on_bad_loss": "skip"}
    one, two, port = tmp_path / "one", tmp_path / "two", free_port()
    calls = [partial(one_of, rank, 2, port, two, "dialogue", **settings) for rank in range(2)]
    assert in_another_process(partial(one_of, 0, 1, free_port(), one, "dialogue", **settings), *calls) == [0, 0, 0]
    alone, together = metrics(one), metrics(two)
    assert len(together) == 4
    for line, other in zip(alone, together, strict=True):
        assert line == pytest.approx(other, rel=1e-5, abs=1e-5)
    assert sum(line["targets"] for line in alone) > 3  # so rows of the bank were touched
    weights = [load_file(file) for file in (one / "0.safetensors", two / "0.safetensors", two / "1.safetensors")]
    apart = set()
    for name, tensor in weights[0].items():
        if "num_batches_tracked" not in name:  # a counter that nothing reads
            assert torch.equal(weights[1][name], weights[2][name]), name
            if not torch.allclose(tensor, weights[1][name], rtol=0, atol=2e-5):
                apart.add(name)
    # batch norm takes the biases before it away, so their gradients are rounding, which Adam makes as large as any; and
    # its running means have these biases in them
    layers = "mask_predictor.memory.fusion.layers"
    biases = {f"{layers}.{place}.bias" for place in (0, 3, 6)}
    assert apart <= biases | {f"{layers}.{place + 1}.running_mean" for place in (0, 3, 6)}


@pytest.mark.slow
def test_torchrun_starts_two_processes_that_do_the_work_of_one(tmp_path: Path) -> None:
    """The same through the command that users give; its start alone takes half a minute."""
    script = tmp_path / "work.py"
    script.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.tiny_run import one_of\n"
        f"settings = {{**{STAGE!r}, 'steps': 2, 'dtype': 'float32'}}\n"
        "told = [os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'MASTER_PORT')]\n"
        "one_of(*map(int, told), Path(sys.argv[1]), 'dialogue', **settings)\n"
    )
    for count in (1, 2):
        options = ["--nproc-per-node", str(count), "--master-port", str(free_port())]
        command = [sys.executable, "-m", "torch.distributed.run", *options]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([*command, str(script), str(tmp_path / str(count))], check=True, env=environment)
    for line, other in zip(metrics(tmp_path / "1"), metrics(tmp_path / "2"), strict=True):
        assert line == pytest.approx(other, rel=1e-5, abs=1e-5)
