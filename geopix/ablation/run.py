"""An ablation from its settings file: row by row, seed by seed, step by step, from wherever it was stopped (§V-F)."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from geopix import checkpoint
from geopix.ablation import results
from geopix.ablation.build import START, build, parameters_of_fusion
from geopix.ablation.plan import Plan
from geopix.ablation.results import Result
from geopix.ablation.scoring import PROTOCOL, Validation, kept_states, score, validation, validation_states
from geopix.ablation.verdict import RULE
from geopix.classes import ClassVocabulary
from geopix.config import Stage
from geopix.dialogue import Dialogue
from geopix.evaluate import vhr10
from geopix.evaluate.vhr10 import Question
from geopix.model.geopix import GeoPixModel
from geopix.train.answer_batches import AnswerSampler
from geopix.train.answers import Answers, Watch, cached, digest, jobs, key_of
from geopix.train.batches import Sampler, Source
from geopix.train.features import FeatureStore
from geopix.train.loop import train
from geopix.train.stores import RECIPES, take

SHORTCUT = (
    "Shortcut: rows train the mask side alone, on the states that one language side gives at the segmentation tokens "
    "of right answers, read once with the image and kept; rows called full_... train the language side too."
)
PAPER = (
    "The paper's numbers are its own: SIOR-T, a model of seven billion parameters. Its 2.7 K for F at every capacity "
    "can't hold for 32 and 256, see F's parameters; neither it nor we count the bank there."
)


class AblationError(ValueError):
    """An ablation that can't be run."""


@dataclass(frozen=True)
class Bench:
    """What all rows share.

    Args:
        plan: The settings.
        base, dialogue, model: The model that every row begins with, its words, and its digest.
        stores: Features of the training windows, in the plan's order.
        answers: Kept states of training targets.
        on, on_states: The validation windows, and the states of their answers.
        folder: Where results go.
        key: Names model, states and validation together.
    """

    plan: Plan
    base: GeoPixModel
    dialogue: Dialogue
    model: str
    stores: list[Source]
    answers: Answers
    on: Validation
    on_states: list[Tensor]
    folder: Path
    key: str

    @property
    def vocabulary(self) -> ClassVocabulary:
        """The model's class slots."""
        return ClassVocabulary(tuple(self.base.config.class_names))


def run(
    plan: Plan, rows: Sequence[str], seeds: int, data: Path, runs: Path, model: str, watch: Watch,
    done: Callable[[Result], None],
) -> dict[str, Any]:  # fmt: skip
    """Run rows that have no result yet, and make the table of all that have one.

    Args:
        plan: The settings.
        rows: Names, see `Plan.chosen`.
        seeds: How many training runs a row has.
        data: The folder of the data sets.
        runs: Holds ``features``; takes ``ablation``.
        model: What `geopix.checkpoint.load` opens.
        watch: Told what is going on.
        done: Told every result.

    Returns:
        The table, as it stands in ``table.json``.

    Raises:
        AblationError: If the model can't be trained, or a feature store is unknown.
        ConfigError: If there is no such row.
        FloatingPointError: If a loss is not finite.
    """
    names = plan.chosen(rows)
    if unknown := sorted(set(plan.windows) - set(RECIPES)):
        raise AblationError(f"windows: no feature store is called {unknown[0]!r}; there are {', '.join(RECIPES)}")
    base, dialogue = checkpoint.load(model)
    if base.config.mask_path != "geopix":
        raise AblationError(
            f"{model} has the authors' released mask path, which can't be trained; name another --model"
        )
    bench = prepare(plan, base, dialogue, _stores(plan, base, data, runs, watch), vhr10.questions(data), runs, watch)
    images = [question.image_key for question in bench.on.flat]
    todo = [(name, seed) for seed in range(seeds) for name in names if seed == 0 or plan.rows[name].trained]
    for number, (name, seed) in enumerate(todo):
        watch("rows", number, len(todo))
        done(row(bench, name, seed, watch))
        made = results.table(plan, _known(bench, seeds), images, _facts(bench, model, images))
        results.write(bench.folder / "table.json", json.dumps(made, indent=2) + "\n")
        results.write(bench.folder / "table.md", results.markdown(made))
    watch("rows", len(todo), len(todo))
    return made


def prepare(
    plan: Plan,
    base: GeoPixModel,
    dialogue: Dialogue,
    stores: list[Source],
    asked: Sequence[Question],
    runs: Path,
    watch: Watch,
) -> Bench:
    """Read what all rows share, or find it where it was kept.

    Args:
        plan, runs, watch: See `run`.
        base, dialogue: In evaluation mode.
        stores: In the order of the plan's windows.
        asked: Validation questions.
    """
    folder, model = runs / "ablation", digest(base)
    folder.mkdir(parents=True, exist_ok=True)
    todo = jobs(stores, plan.dialogues, plan.questions, plan.seed)
    key = key_of(todo, stores, model)
    answers = cached(base, dialogue, stores, todo, folder / "states" / key, watch)
    on = validation(asked, plan.validation, base, folder / "validation", watch)
    on_states = kept_states(base, dialogue, on, folder / "validation" / f"{on.key}-{model}.safetensors", watch)
    return Bench(plan, base, dialogue, model, stores, answers, on, on_states, folder, f"{model} {key} {on.key}")


def row(bench: Bench, name: str, seed: int, watch: Watch) -> Result:
    """One row with one seed, if it has no result yet."""
    key = _key(bench, name, seed)
    known = results.read(bench.folder, name, seed, key)
    if known is not None:
        return known
    wanted, design = bench.plan.rows[name], bench.plan.design_of(name)
    stages = bench.plan.stages_of(name, seed) if wanted.trained else []
    model, on_states = bench.base, bench.on_states
    work = bench.folder / "work" / f"{name}.{seed}.{key}"
    for stage in stages:
        if model is bench.base:
            model = build(bench.base, bench.dialogue, design, seed, stage if wanted.full else None)
        _train(bench, model, stage, work / stage.name, wanted.full, f"{name}, seed {seed}", watch)
    for one in (model, bench.base):  # they share the language side, which training has put into its mode
        one.train(False)
    started = time.perf_counter()
    if wanted.full:
        on_states = validation_states(model, bench.dialogue, bench.on, watch)
    scores = score(model, bench.on, on_states, wanted.test, watch)
    result = Result(
        name, seed, key, sum(stage.steps for stage in stages),
        sum(_seconds(work / stage.name) for stage in stages) / 60, (time.perf_counter() - started) / 60,
        parameters_of_fusion(model), [[one.iou, one.intersection_px, one.union_px] for one in scores],
    )  # fmt: skip
    result.write(bench.folder)
    shutil.rmtree(work, ignore_errors=True)  # a bank with its moments is heavy
    return result


def _key(bench: Bench, name: str, seed: int) -> str:
    """Names everything that a result depends on."""
    row, design = bench.plan.rows[name], bench.plan.design_of(name)
    stages = bench.plan.stages_of(name, seed) if row.trained else []
    told = [bench.key, design.model_dump(), [stage.model_dump() for stage in stages], row.test, row.full, seed]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def _known(bench: Bench, seeds: int) -> list[Result]:
    """Every result that is there, of this run or an earlier one with the same settings."""
    pairs = ((name, seed) for name in bench.plan.rows for seed in range(seeds))
    found = (results.read(bench.folder, name, seed, _key(bench, name, seed)) for name, seed in pairs)
    return [result for result in found if result is not None]


def _train(bench: Bench, model: GeoPixModel, stage: Stage, folder: Path, full: bool, what: str, watch: Watch) -> None:
    side = bench.base.config.grid_side

    def report(step: int, numbers: dict[str, float]) -> None:
        watch(f"{what}: training IoU {numbers.get('mask_iou', 0.0):.3f}", step + 1, stage.steps)

    stores = dict(zip(bench.plan.windows, bench.stores, strict=True))
    if full:
        train(model, Sampler(stage, stores, bench.vocabulary, bench.dialogue, side), stage, folder, report)
        return
    tokens = len(model.encoder.layers) * model.config.tokens_per_scale  # a row may use fewer than were read
    like = model.trainable_predictor.scale_tokens
    drawn = AnswerSampler(stage, stores, bench.vocabulary, bench.dialogue, side, bench.answers, like, tokens)
    train(model, drawn, stage, folder, report, drawn.look_up)


def _seconds(folder: Path) -> float:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(float(json.loads(line)["seconds"]) for line in lines)


def _stores(plan: Plan, base: GeoPixModel, data: Path, runs: Path, watch: Watch) -> list[Source]:
    """Windows of the feature stores as training keeps them, filled as far as the plan needs them."""
    config = base.config
    shape = len(config.encoder_layers), config.grid_side**2, config.vision_config.hidden_size

    def tell(name: str, count: int, done: int) -> None:
        watch(f"features of {name}", done, count)

    stores: list[Source] = []
    for name, count in plan.windows.items():
        store = FeatureStore(runs / "features" / name, *shape)
        if len(store) < count:
            missing = itertools.islice(RECIPES[name].samples(data, len(store)), count - len(store))
            store.build(base.encoder, missing, config.image_size, progress=partial(tell, name, count))
        stores.append(take(store, name, count, plan.seed)[0])
    return stores


def _facts(bench: Bench, model: str, images: Sequence[str]) -> dict[str, Any]:
    plan, n_states = bench.plan, len(bench.answers.states)
    n_windows, n_images = sum(plan.windows.values()), len(set(images))
    counts = (
        f"Model {model} (sha256 of its tensors {bench.model}); {n_states:,} states of targets, {n_windows:,} windows; "
        f"{len(images):,} validation questions about {n_images:,} images; {plan.stage['steps']} steps of "
        f"{plan.stage.get('images', 8)} images a row. Differences are to the row that table.json calls 'against'."
    )
    return {
        "model": model, "digest": bench.model, "key": bench.key, "states": n_states, "questions": len(images),
        "images": n_images, "plan": plan.model_dump(mode="json"),
        "footer": [counts, PROTOCOL, SHORTCUT, START, RULE, PAPER],
    }  # fmt: skip
