"""One stage from its YAML file: stores, model, adapter, loop, progress (§III-C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from geopix import checkpoint
from geopix.classes import ClassVocabulary
from geopix.config import ConfigError, Stage, load
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora
from geopix.train.batches import Batch, Sampler
from geopix.train.features import FeatureStore
from geopix.train.loop import load_trained, train
from geopix.train.phrases import all_phrases, class_words, phrase_states
from geopix.train.stores import RECIPES, open_store
from geopix.train.together import accelerator


def run_stage(config: Path, overrides: Sequence[str], data: Path, folder: Path, export: Path | None) -> None:
    """Run a stage to its end, from wherever an earlier run of it was stopped.

    Args:
        config: The stage's YAML file.
        overrides: ``key=value`` changes to it.
        data: The folder of the data sets (nwpu_vhr10, sen2ships, ucm).
        folder: Where feature stores, checkpoints and metrics go.
        export: Where to write the trained tensors in nano's inference form at the end, or None.

    Raises:
        ConfigError: If the settings name a source or stage that does not exist, or make nothing to export.
        CheckpointError: If nano's parts can't be loaded.
    """
    stage = load(config, overrides)
    unknown = sorted(set(stage.sources) - set(RECIPES))
    if unknown:
        raise ConfigError(f"{config}: sources: no feature store is called {unknown[0]!r}; there are {sorted(RECIPES)}")
    if export is not None and stage.language != "dialogue":
        raise ConfigError(f"{config}: only a stage of whole dialogues makes a nano to export; leave --export out")
    model, dialogue = checkpoint.fresh_nano({"relations_in_words": stage.relations_in_words})
    movable: nn.Module = model
    among = accelerator()
    device = among.device
    movable.to(device, checkpoint.fast_dtype(device) if stage.dtype == "auto" else getattr(torch, stage.dtype))
    with _progress(among.is_main_process) as progress:
        with among.main_process_first():  # one builds, the others find it built
            stores = {name: _store(name, data, folder, model, progress) for name in stage.sources}
        if stage.language == "dialogue":
            adapter = add_lora(
                model.language.causal, stage.lora_rank, stage.lora_alpha, stage.lora_dropout, dialogue.new_ids
            )
            model.language.llm = adapter
        for name in stage.start_from:
            if not (folder / name / "checkpoint").is_dir():
                raise ConfigError(f"{config}: start_from: there is no finished stage {name!r} in {folder}")
            load_trained(folder / name, model)
        sampler = Sampler(
            stage, stores, ClassVocabulary(tuple(model.config.class_names)), dialogue, model.config.grid_side
        )
        bar = progress.add_task(stage.name, total=stage.steps)

        def report(step: int, numbers: dict[str, float]) -> None:
            shown = {key: numbers[key] for key in ("word", "mask", "mask_iou") if key in numbers}
            words = "  ".join(f"{key} {value:.3f}" for key, value in shown.items())
            progress.update(bar, completed=step + 1, description=f"{stage.name}  {words}")
            if not progress.console.is_terminal and (step + 1) % 25 == 0:
                progress.console.print(f"{stage.name} {step + 1}/{stage.steps}  {words}  {numbers['seconds']:.2f} s")

        train(model, sampler, stage, folder / stage.name, report, _states(stage, model, dialogue, stores))
    if export is not None and among.is_main_process:
        lora = {"rank": stage.lora_rank, "alpha": stage.lora_alpha}
        checkpoint.save_nano(model, lora, export, {"stage": stage.model_dump()})


def _store(name: str, data: Path, folder: Path, model: GeoPixModel, progress: Progress) -> FeatureStore:
    bar = progress.add_task(f"features of {name}", total=RECIPES[name].count)

    def tell(done: int, total: int) -> None:
        progress.update(bar, completed=done, total=total)

    store = open_store(name, data, folder / "features", model.encoder, model.config.image_size, tell)
    progress.remove_task(bar)
    return store


def _states(
    stage: Stage, model: GeoPixModel, dialogue: Dialogue, stores: dict[str, FeatureStore]
) -> Callable[[Batch], Tensor] | None:
    """What stands in for the LLM in the stages that train without it."""
    if stage.language in ("dialogue", "relations"):
        return None
    if stage.language == "words":
        words = class_words(model, dialogue, model.config.class_names)
        return lambda batch: words
    phrases = all_phrases(stores.values())
    table = phrase_states(model, dialogue, phrases).to(model.dtype)
    place = {phrase: index for index, phrase in enumerate(phrases)}

    def states(batch: Batch) -> Tensor:
        assert batch.phrases is not None
        return table[torch.tensor([[place[phrase] for phrase in row] for row in batch.phrases], device=table.device)]

    return states


def _progress(shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )
