"""Small stages of training on the tiny model, in this process or in others that may be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from rich.progress import Progress
from torch.distributed.tensor import DTensor

from geopix.config import Stage
from geopix.model.llm import add_lora
from geopix.train import checkpoints
from geopix.train.batches import Batch
from geopix.train.features import FeatureStore
from geopix.train.loop import train
from geopix.train.run import _fed, run_stage
from tests.tiny_model import tiny_geopix
from tests.tiny_store import CAPTIONED, WINDOWS, tiny_store

KINDS: dict[str, dict[str, Any]] = {
    "phrases": {"part_rates": {"language": 0, "multimodal_projector": 0, "mask_predictor.memory": 2}},
    "words": {"part_rates": {"language": 0, "mask_predictor": 0, "scale_projectors": 0}},
    "answers": {
        "part_rates": {"language": 0, "multimodal_projector": 0, "mask_predictor.memory": 2},
        "dialogues": 2,
        "questions": {"segment": 1, "all": 1},
    },
    "dialogue": {"lora_rank": 2, "lora_alpha": 4, "lora_dropout": 0.2},
}
Report = Callable[[int, dict[str, float]], None]


def silent(step: int, numbers: dict[str, float]) -> None:
    """Report nothing."""


def stop_after(last: int) -> Report:
    """A user who presses Ctrl-C once a step is reported."""

    def report(step: int, numbers: dict[str, float]) -> None:
        if step == last:
            raise KeyboardInterrupt

    return report


class Run:
    """A stage with its own fresh model, all in ``folder``."""

    def __init__(self, folder: Path, language: str, seed: int = 0, **settings: Any) -> None:
        self.folder = folder
        self.model, dialogue = tiny_geopix(seed)
        windows = [*WINDOWS, CAPTIONED] if language == "dialogue" else WINDOWS
        stores = {"all": tiny_store(folder / "store", self.model, windows)} if not (folder / "store").exists() else {}
        self.model.language.llm.requires_grad_(False)
        module: torch.nn.Module = self.model
        dtype = torch.float32 if settings.get("dtype") == "float32" else torch.bfloat16
        module.to(dtype)
        given = {"steps": 6, "images": 2, "targets": 3, "turns": 2, "warmup": 2, "checkpoint_every": 2}
        self.stage = Stage.model_validate(
            {"name": "try", "language": language, "sources": {"all": 1}, **given, **KINDS[language], **settings}
        )
        if language == "dialogue":
            adapter = add_lora(self.model.language.causal, 2, 4, self.stage.lora_dropout, dialogue.new_ids)
            self.model.language.llm = adapter.to(dtype)
        if not stores:
            stores = {"all": FeatureStore(folder / "store", scales=2, patches=16, channels=32)}
        self.sampler: Any
        self.sampler, self.states = _fed(self.stage, self.model, dialogue, stores, folder, Progress(disable=True))

    def go(self, report: Report = silent) -> None:
        train(self.model, self.sampler, self.stage, self.folder / "try", report, self.states)

    def metrics(self) -> list[dict[str, Any]]:
        lines = (self.folder / "try" / "metrics.jsonl").read_text().splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]

    def step(self) -> int:
        newest = checkpoints.newest(self.folder / "try", print)
        assert newest is not None
        return newest.step


def in_another_process(*calls: Callable[[], None]) -> list[int]:
    """Run each call in a process of its own, all at once; their exit codes, minus the signal of one that was killed.

    The processes come from one that has everything imported, so they cost little.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.tiny_run"])
    processes = [context.Process(target=call) for call in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        if process.is_alive():
            process.kill()
    return [process.exitcode if process.exitcode is not None else 124 for process in processes]


def killed(folder: Path, moment: str, place: int, **settings: Any) -> None:
    """A dialogue stage that dies by SIGKILL at a moment.

    Args:
        folder: Of the run.
        moment: "reported": after a step; "fed": when a micro-batch is asked for; "half": while the first file of the
            checkpoint after that one is half-written; "renamed": when all of a checkpoint is written but for its
            name; "never".
        place: The step, the micro-batch, or the checkpoint.
        settings: Of the stage.
    """
    run = Run(folder, "dialogue", **settings)
    draw, write, replace = run.sampler.batch, safetensors.torch.save_file, Path.replace

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def fed(number: int) -> Batch:
        if (moment, number) == ("fed", place):
            die()
        batch: Batch = draw(number)
        return batch

    def half(tensors: dict[str, torch.Tensor], path: Path) -> None:
        write(tensors, path)
        if moment == "half" and (folder / "try" / "checkpoint" / f"{place:08d}").is_dir():
            os.truncate(path, path.stat().st_size // 2)
            die()

    def renamed(path: Path, target: Path) -> Path:
        if moment == "renamed" and path.name == ".writing" and target.name == f"{place:08d}":
            die()
        return replace(path, target)

    def report(step: int, numbers: dict[str, float]) -> None:
        if (moment, step) == ("reported", place):
            die()

    run.sampler.batch = fed
    changed: tuple[tuple[Any, str, Any], ...] = ((safetensors.torch, "save_file", half), (Path, "replace", renamed))
    for place_of, name, value in changed:
        setattr(place_of, name, value)
    run.go(report)


def one_of(
    rank: int,
    size: int,
    port: int,
    folder: Path,
    language: str,
    *,
    sharded: bool = False,
    change: Callable[[Run], None] | None = None,
    **settings: Any,
) -> None:
    """One process of several, told so as torchrun or accelerate tells it; it keeps its weights in ``folder``.

    Args:
        rank, size, port: Which process of how many, and where they meet.
        folder: Of the run; the process has its own features in ``folder/rank``.
        language: What is trained.
        sharded: Whether the launch asks for FSDP2.
        change: Done to the run before it starts.
        settings: Of the stage.
    """
    _tell(rank, size, port, sharded)
    run = Run(folder / str(rank), language, **settings)
    run.folder = folder
    if change is not None:
        change(run)
    run.go()
    parts = {name for name, tensor in run.model.state_dict().items() if isinstance(tensor, DTensor)}
    assert parts == (frozen_in_layers(run.model) if sharded else set())
    tensors = {
        name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.clone()
        for name, tensor in run.model.state_dict().items()
    }
    safetensors.torch.save_file(tensors, folder / f"{rank}.safetensors")


def stage_of(rank: int, size: int, port: int, folder: Path, runs: str) -> None:
    """One process of several, in shares, or the only one, of a stage that is exported to ``runs/made``."""
    _tell(rank, size, port, sharded=size > 1)
    run_stage(folder / "stage.yaml", [], folder / "data", folder / runs, folder / runs / "made")


def _tell(rank: int, size: int, port: int, sharded: bool) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if sharded:
        os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def frozen_in_layers(model: torch.nn.Module) -> set[str]:
    """Names of the base model's weights in the language model's layers."""
    return {
        name
        for name, parameter in model.named_parameters()
        if name.startswith("language.") and ".layers." in name and "lora_" not in name
    }


def die_at(number: int, run: Run) -> None:
    """Have a run die by SIGKILL when it asks for a micro-batch."""
    draw = run.sampler.batch

    def fed(asked: int) -> Batch:
        if asked == number:
            os.kill(os.getpid(), signal.SIGKILL)
        batch: Batch = draw(asked)
        return batch

    run.sampler.batch = fed


def spoil(number: int, run: Run) -> None:
    """Give a run a micro-batch whose loss is no number."""
    draw = run.sampler.batch

    def spoiled(asked: int) -> Batch:
        batch: Batch = draw(asked)
        if asked == number:
            batch.features[:] = torch.nan
        return batch

    run.sampler.batch = spoiled


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
