"""The model that a stage begins with (§III-C, §V-A): nano or LLaVA, what earlier stages trained, an adapter."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from geopix import checkpoint
from geopix.config import ConfigError, Stage
from geopix.dialogue import Dialogue
from geopix.model.configuration import GeoPixConfig
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora
from geopix.train import adapters, checkpoints

RECORD = "stage.json"
"""What a run writes down when it begins: its settings, and what it is fed."""

Load = Callable[[Path, GeoPixModel], None]


def build(stage: Stage, device: torch.device) -> tuple[GeoPixModel, Dialogue]:
    """The stage's model before any training, on a device, in the precision that it trains in.

    Raises:
        ConfigError: If its sizes are none that a model has.
        CheckpointError: If its parts can't be loaded.
    """
    known = inspect.signature(GeoPixConfig.__init__).parameters.keys() - {"self", "kwargs", "about"}
    if strange := sorted(stage.architecture.keys() - known):
        raise ConfigError(f"{stage.name}: architecture: a model has no {strange[0]!r}; it has {sorted(known)}")
    dtype = checkpoint.fast_dtype(device) if stage.dtype == "auto" else getattr(torch, stage.dtype)
    settings = {**stage.architecture, "relations_in_words": stage.relations_in_words}
    try:
        if stage.model == "nano":
            model, dialogue = checkpoint.fresh_nano(settings)
        else:
            model, dialogue = checkpoint.from_llava(stage.model, settings, dtype)
    except (TypeError, ValueError) as error:
        if isinstance(error, checkpoint.CheckpointError):
            raise
        raise ConfigError(f"{stage.name}: architecture: {error}") from error
    movable: nn.Module = model
    movable.to(device, dtype)
    return model, dialogue


def begin(stage: Stage, model: GeoPixModel, dialogue: Dialogue, runs: Path, load: Load) -> None:
    """Give a fresh model what the stage starts from, and the adapter that it trains.

    The trained rows of the new words and all parts outside of the language model carry over in either case. With
    `adapter: merge` the adapter of the stage before is added to the language model's weights, and a new one, which
    changes nothing yet, is laid around them.

    Args:
        stage: The stage.
        model: As `build` gives it; changed in place.
        dialogue: Its dialogue.
        runs: Where the stages' folders are; what is merged is written into this stage's.
        load: Puts the weights of a finished stage, by its folder, into a model.

    Raises:
        ConfigError: If a stage that this one starts from is not there, or its adapter does not fit.
    """
    for name in stage.start_from:
        if not (runs / name).is_dir():
            raise ConfigError(f"{stage.name}: start_from: there is no finished stage {name!r} in {runs}")
    before = _adapted(stage, runs)
    if stage.language == "answers" and not before:
        raise ConfigError(f"{stage.name}: start_from: name the stage of dialogues whose answers are read")
    if not stage.can_be_asked:
        if before and stage.language not in ("words", "relations"):  # which ask the language model nothing
            raise ConfigError(
                f"{stage.name}: start_from: {before[0]} trained an adapter, which a stage of {stage.language} lacks"
            )
        _load(stage, model, runs, load)
        return
    if not before:
        if stage.adapter == "merge":
            raise ConfigError(f"{stage.name}: adapter: merge needs a dialogue stage in start_from, whose adapter it is")
        lay(stage, model, dialogue)
        _load(stage, model, runs, load)
        return
    name, (rank, alpha) = before
    merged = adapters.load(runs / name)
    adapters.add(model.language.causal, merged)
    if stage.adapter == "continue" or stage.language == "answers":
        if (rank, alpha) != (stage.lora_rank, stage.lora_alpha):
            raise ConfigError(
                f"{stage.name}: lora_rank {stage.lora_rank} and lora_alpha {stage.lora_alpha} are not {name}'s {rank} "
                f"and {alpha}; take these to train its adapter on, or say adapter: merge"
            )
        lay(stage, model, dialogue)
        _load(stage, model, runs, load)
    else:
        model.language.llm = add_lora(model.language.causal, rank, alpha, 0.0, dialogue.new_ids)
        _load(stage, model, runs, load)
        merged = [*merged, merge(model, dialogue)]
        torch.manual_seed(stage.seed)  # the new adapter's matrices are the same after a restart
        lay(stage, model, dialogue)
    _write_down(merged, runs / stage.name, name)


def left_behind(stage: Stage, runs: Path) -> list[str]:
    """What stages further back have trained and none of those in ``start_from`` holds, a sentence for each of them.

    A checkpoint holds what its stage trained. What a stage froze is with the stage that taught it, and where that one
    is not named, too, a part begins as new.
    """
    held = set[str]().union(*(checkpoints.trained(runs / name) for name in stage.start_from))
    told, met, further = [], set(stage.start_from), list(stage.start_from)
    while further:
        for name in record(runs / further.pop(0)).get("stage", {}).get("start_from", ()):
            if name in met:
                continue
            met.add(name)
            further.append(name)
            lost = checkpoints.trained(runs / name) - held
            held |= lost
            if lost:
                parts = ", ".join(sorted({".".join(one.split(".")[:2]) for one in lost}))
                told.append(
                    f"{stage.name}: {name} trained {parts}, which no stage in start_from holds, so that begins as new; "
                    f"to keep it, name {name} there, before the others"
                )
    return told


def lay(stage: Stage, model: GeoPixModel, dialogue: Dialogue) -> None:
    """Lay the stage's own adapter around the language model; it begins as identity."""
    model.language.llm = add_lora(
        model.language.causal, stage.lora_rank, stage.lora_alpha, stage.lora_dropout, dialogue.new_ids
    )


def merge(model: GeoPixModel, dialogue: Dialogue) -> adapters.Factors:
    """Add the adapter to the weights that it lies around, the new words' rows too, and take it off."""
    llm: Any = model.language.llm
    trained, rows = adapters.factors(llm), adapters.rows_of(llm)
    model.language.llm = llm.unload()
    adapters.add(model.language.causal, [trained])
    with torch.no_grad():
        for name, said in rows.items():
            table = model.language.causal.get_submodule(name).weight
            table[list(dialogue.new_ids)] = said.to(table)
    model.language.llm.requires_grad_(False)
    return trained


def export(stage: Stage, model: GeoPixModel, dialogue: Dialogue, runs: Path, folder: Path) -> None:
    """Write a trained model where it can be asked: nano's trained tensors, or the whole model of another.

    All adapters of nano, merged and last, become one, because its language model's own weights are not written.
    """
    if stage.model != "nano":
        checkpoint.merge_adapters(model)
        checkpoint.save(model, dialogue, folder)
        return
    lora = {"rank": stage.lora_rank, "alpha": stage.lora_alpha}
    merged = adapters.load(runs / stage.name)
    if merged:
        llm: Any = model.language.llm
        whole, rows = adapters.joined([*merged, adapters.factors(llm)]), adapters.rows_of(llm)
        lora = {"rank": whole.rank, "alpha": whole.rank}
        joined = add_lora(llm.unload(), whole.rank, whole.rank, 0.0, dialogue.new_ids)
        adapters.put(joined, whole)
        for name, said in adapters.rows_of(joined).items():
            said.copy_(rows[name])
        model.language.llm = joined
    checkpoint.save_nano(model, lora, folder, {"stage": stage.model_dump()})


def record(folder: Path) -> dict[str, Any]:
    """What a stage wrote down when it began; {} where it is of an older GeoPix."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _load(stage: Stage, model: GeoPixModel, runs: Path, load: Load) -> None:
    for name in stage.start_from:
        load(runs / name, model)


def _adapted(stage: Stage, runs: Path) -> tuple[str, tuple[int, int]] | None:
    """The last of the stages to start from that trained an adapter, with its rank and alpha."""
    for name in reversed(stage.start_from):
        told = record(runs / name).get("stage", {})
        if told.get("language") == "dialogue":
            return name, (int(told["lora_rank"]), int(told["lora_alpha"]))
    return None


def _write_down(merged: list[adapters.Factors], folder: Path, source: str) -> None:
    """Keep what was merged beside the stage's checkpoints.

    Raises:
        ConfigError: If the stage began with something else.
    """
    there = adapters.load(folder)
    if there and not adapters.same(there, merged):
        raise ConfigError(
            f"{source} was trained again since {folder.name} began with it; give {folder.name} a new --runs folder, or "
            f"delete {folder}"
        )
    if merged and not there:
        folder.mkdir(parents=True, exist_ok=True)
        adapters.save(merged, folder)
