"""One stage from its YAML file: stores, model, adapter, loop, progress (§III-C)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from geopix.classes import ClassVocabulary
from geopix.config import ConfigError, Stage, load
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.train.answer_batches import AnswerSampler
from geopix.train.answers import Answers, cached, digest, jobs, key_of
from geopix.train.batches import Batch, Sampler, Source
from geopix.train.begin import RECORD, begin, build, left_behind, record
from geopix.train.begin import export as write_export
from geopix.train.features import Eye
from geopix.train.loop import load_trained, train
from geopix.train.phrases import ToldWords, all_phrases, class_words, phrase_states
from geopix.train.sets import Opened, SetSource, is_set, keep, open_set, place_of
from geopix.train.step import States
from geopix.train.stores import RECIPES, missing_data, open_store, recipe_record, take
from geopix.train.together import accelerator, shards

SEEN_BY = ("vision_config", "image_size", "image_mean", "image_std", "encoder_layers")
"""What of a model's architecture decides what its encoder sees."""


def run_stage(config: Path, overrides: Sequence[str], data: Path, folder: Path, export: Path | None) -> None:
    """Run a stage to its end, from wherever an earlier run of it was stopped.

    Args:
        config: The stage's YAML file.
        overrides: ``key=value`` changes to it.
        data: The folder of the data sets: those of nano's stores, and sets in our own format.
        folder: Where feature stores, checkpoints and metrics go.
        export: Where to write the model at the end, ready to be asked, or None.

    Raises:
        ConfigError: If the settings name a source or stage that does not exist, make nothing to export, or the data
            is not what it was when the run began.
        CheckpointError: If the model's parts can't be loaded.
    """
    stage = load(config, overrides)
    check_sources(stage, data, _kept(stage, folder))
    if export is not None and not stage.can_be_asked:
        raise ConfigError(f"{config}: a stage of {stage.language} makes no model that can be asked; leave --export out")
    among = accelerator()
    with _progress(among.is_main_process) as progress:
        sets = {name: _open(name, stage, data, progress) for name in stage.sources if name not in RECIPES}
        fed = {name: sets[name].record if name in sets else recipe_record(name) for name in stage.sources}
        _check_record(stage, fed, folder / stage.name)
        model, dialogue = build(stage, among.device)
        with among.main_process_first():  # one builds, the others find it built
            stores = {
                name: _source(name, stage, sets.get(name), data, folder, model, progress) for name in stage.sources
            }
        for name in stage.take.keys() & RECIPES.keys():
            stores[name], fed[name]["taken"] = take(stores[name], name, stage.take[name], stage.seed)
        _check_record(stage, fed, folder / stage.name)
        with among.main_process_first():  # one writes down what it began with, the others find the same
            begin(stage, model, dialogue, folder, load_trained)
        for sentence in left_behind(stage, folder) if among.is_main_process else ():
            progress.console.print(f"note: {sentence}", style="yellow", highlight=False)
        with among.main_process_first():  # one reads the answers, the others find them
            sampler, states = _fed(stage, model, dialogue, stores, folder, progress)
        stage = sampler.stage
        if among.is_main_process:
            _write_record(stage, fed, folder / stage.name)
        bar = progress.add_task(stage.name, total=stage.steps)

        def report(step: int, numbers: dict[str, float]) -> None:
            shown = {key: numbers[key] for key in ("word", "mask", "mask_iou") if key in numbers}
            words = "  ".join(f"{key} {value:.3f}" for key, value in shown.items())
            progress.update(bar, completed=step + 1, description=f"{stage.name}  {words}")
            if not progress.console.is_terminal and (step + 1) % 25 == 0:
                progress.console.print(f"{stage.name} {step + 1}/{stage.steps}  {words}  {numbers['seconds']:.2f} s")

        train(model, sampler, stage, folder / stage.name, report, states)
    if export is not None and among.is_main_process:
        if shards(among):  # its layers are in pieces: the whole is made again from the checkpoint
            model, dialogue = build(stage, among.device)
            begin(stage, model, dialogue, folder, load_trained)
            load_trained(folder / stage.name, model)
        write_export(stage, model, dialogue, folder, export)


def check_sources(stage: Stage, data: Path, kept: Path) -> None:
    """Whether every source of a stage is a set, or one of nano's stores that is full or can be filled.

    Args:
        stage: Names them.
        data: The folder of the data sets.
        kept: Where the stage's feature stores live.

    Raises:
        ConfigError: If one is none of these.
    """
    for name in stage.sources:
        if name not in RECIPES and not is_set(data / name):
            raise ConfigError(
                f"{stage.name}: sources: {name!r} is none of nano's stores ({', '.join(sorted(RECIPES))}) and there is "
                f"no set {data / name}; make one with: geopix data import"
            )
        if name in RECIPES and (name in stage.subsets or stage.turned):
            raise ConfigError(f"{stage.name}: {name} is a store of kept features; subsets and turned are for sets")
    for name in (name for name in stage.sources if name in RECIPES):
        if missing := missing_data(name, data, kept):
            raise ConfigError(
                f"{stage.name}: sources: {name} is made of {missing}, which is missing; complete the data"
            )


def _open(name: str, stage: Stage, data: Path, progress: Progress) -> Opened:
    bar = progress.add_task(f"reading {name}", total=None)
    opened = open_set(name, stage, data, lambda done, total: progress.update(bar, completed=done, total=total))
    progress.remove_task(bar)
    return opened


def _kept(stage: Stage, folder: Path) -> Path:
    """Where a stage's feature stores live: another encoder sees otherwise."""
    kept = folder / "features"
    seeing = {key: value for key, value in stage.architecture.items() if key in SEEN_BY}
    if stage.model != "nano" or seeing:
        told = json.dumps([stage.model, seeing], sort_keys=True)
        kept /= hashlib.sha256(told.encode()).hexdigest()[:12]
    return kept


def _source(
    name: str,
    stage: Stage,
    opened: Opened | None,
    data: Path,
    folder: Path,
    model: GeoPixModel,
    progress: Progress,
) -> Source:
    config = model.config
    eye = Eye(model.encoder, config.image_size, config.image_mean, config.image_std)
    if opened is not None and stage.features == "each_step":
        return SetSource(opened, eye)
    count = len(opened.index) if opened is not None else RECIPES[name].count
    bar = progress.add_task(f"features of {name}", total=count)

    def tell(done: int, total: int) -> None:
        progress.update(bar, completed=done, total=total)

    kept = _kept(stage, folder)
    shape = (len(config.encoder_layers), model.encoder.patches, config.vision_config.hidden_size)
    if opened is None:
        store = open_store(name, data, kept, eye, shape, tell)
    else:
        set_source = SetSource(opened, eye)
        store = keep(set_source, kept / place_of(opened, stage), shape, lambda done: tell(done, count))
        _tell_skipped({name: set_source}, progress)
    progress.remove_task(bar)
    return store


def _tell_skipped(stores: Mapping[str, Source], progress: Progress) -> None:
    for name, store in stores.items():
        for key, reason in store.skipped.items() if isinstance(store, SetSource) else ():
            progress.console.print(f"left out of {name}: {key} ({reason})", markup=False)


def _check_record(stage: Stage, fed: dict[str, Any], folder: Path) -> None:
    began = record(folder).get("fed", fed)
    changed = sorted(name for name in fed if began.get(name, fed[name]) != fed[name])
    if changed:
        raise ConfigError(
            f"{stage.name}: {changed[0]} is not what it was when this run began; bring it back, or begin anew: give "
            f"another --runs folder, or delete {folder}"
        )


def _write_record(stage: Stage, fed: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{RECORD}"
    staged.write_text(json.dumps({"stage": stage.model_dump(), "fed": fed}, indent=2) + "\n", encoding="utf-8")
    staged.replace(folder / RECORD)


def _fed(
    stage: Stage,
    model: GeoPixModel,
    dialogue: Dialogue,
    stores: Mapping[str, Source],
    folder: Path,
    progress: Progress,
) -> tuple[Sampler, States | None]:
    """What gives the batches, and what stands in for the LLM in the stages that train without it."""
    vocabulary, side = ClassVocabulary(tuple(model.config.class_names)), model.config.grid_side
    if stage.language == "answers":
        kept = _answers(stage, model, dialogue, list(stores.values()), folder, progress)
        like, tokens = model.trainable_predictor.scale_tokens, kept.states.shape[1]
        answers = AnswerSampler(stage, stores, vocabulary, dialogue, side, kept, like, tokens)
        return answers, answers.look_up
    told = ToldWords.of_stores(stores.values(), dialogue) if stage.language == "words" else None
    sampler = Sampler(stage, stores, vocabulary, dialogue, side, told.shares if told is not None else None)
    if stage.language == "words":
        words = class_words(model, dialogue, model.config.class_names, told.weights if told is not None else ())
        return sampler, lambda batch: words
    if stage.language != "phrases" and stage.language != "pointing":
        return sampler, None
    phrases = all_phrases(stores.values())
    table = phrase_states(model, dialogue, phrases).to(model.dtype)
    place = {phrase: index for index, phrase in enumerate(phrases)}

    def states(batch: Batch) -> Tensor:
        assert batch.phrases is not None
        return table[torch.tensor([[place[phrase] for phrase in row] for row in batch.phrases], device=table.device)]

    return sampler, states


def _answers(
    stage: Stage,
    model: GeoPixModel,
    dialogue: Dialogue,
    stores: Sequence[Source],
    folder: Path,
    progress: Progress,
) -> Answers:
    """The states of right answers, read now where they are not kept yet."""
    todo = jobs(stores, stage.dialogues, stage.questions, stage.seed)
    bar = progress.add_task("reading answers", total=len(todo))

    def tell(doing: str, done: int, total: int) -> None:
        progress.update(bar, completed=done)

    model.train(False)
    kept = cached(
        model, dialogue, stores, todo, folder / "answers" / key_of(todo, stores, digest(model, speaking=True)), tell
    )
    progress.remove_task(bar)
    return kept


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
