"""The settings of a run: typed, documented, from YAML plus ``key=value`` (§V-A)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, ValidationError, model_validator


class ConfigError(ValueError):
    """A settings file or an override that can't be used."""


class Checked(BaseModel):
    """Settings that refuse names they don't know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Settings = TypeVar("Settings", bound=Checked)


class LossWeights(Checked):
    """How the parts of the loss add up; word, bce and dice default to the lineage's 1.0, 2.0, 0.5."""

    word: float = 1.0
    bce: float = 2.0
    dice: float = 0.5
    side_masks: float = Field(
        default=0.5, description="Weight of every initial and per-scale mask beside the final one."
    )
    class_query: float = Field(default=0.2, description="Cross-entropy of the predicted Q_c.")
    iou: float = Field(default=0.2, description="Predicted IoU.")
    pointer: float = Field(default=0.3, description="Where the embedding points, `losses.pointer_loss`.")
    relation: float = Field(default=0.5, description="The auxiliary of `losses.relation_loss`.")


class Stage(Checked):
    """One stage of training (§III-C): what is fed, what trains, and for how long."""

    name: str
    language: Literal["relations", "pointing", "phrases", "words", "dialogue", "answers"] = Field(
        default="dialogue",
        description="'relations': the ordinal encoding's cells alone, from masks. 'pointing': the pointer alone. "
        "'phrases': the mask side alone. Both are fed the frozen LLM's states of referring phrases, computed once. "
        "'words': the multi-modal projector alone, every image token against the LLM's own embedding of what it "
        "shows, and all of an image's tokens together against the words of its captions and answers. 'dialogue': "
        "everything, in whole dialogues. 'answers': the mask side alone again, fed what the language side of the stage "
        "before says at the segmentation tokens of right answers, read once from `dialogues` questions a window.",
    )
    model: str = Field(
        default="nano", description="'nano', or a LLaVA-1.5 checkpoint: a folder, or a hub id (the paper's, §V-A)."
    )
    architecture: dict[str, Any] = Field(
        default_factory=dict, description="`GeoPixConfig`'s sizes where they differ from the model's own."
    )
    start_from: tuple[str, ...] = Field(default=(), description="Stages whose weights this one starts with, in order.")
    adapter: Literal["continue", "merge"] = Field(
        default="continue",
        description="What becomes of the LoRA of the stage that this one starts from. 'continue': it trains on, its "
        "rank is this stage's. 'merge': it is added to the weights that it lies around, and a new one of this stage's "
        "rank begins as identity (§V-A: r = 128, then 8).",
    )
    sources: dict[str, NonNegativeFloat] = Field(
        min_length=1,
        description="Where images come from: stores of nano (`geopix.train.stores.RECIPES`) or sets (folders from the "
        "data folder). In steps, the shares they are drawn with; in epochs, how often an epoch shows each image.",
    )
    subsets: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Of a set, the parts to use (SIOR_T); all by default."
    )
    take: dict[str, PositiveInt] = Field(
        default_factory=dict, description="Of a source, so many images, drawn once with the stage's seed (§III-C)."
    )
    features: Literal["cached", "each_step"] = Field(
        default="cached",
        description="Whether the frozen encoder's features of a set's images are kept on disk, or computed each step.",
    )
    turned: bool = Field(
        default=False,
        description="Whether a set's images come mirrored and in quarter turns, their texts with them; each_step only.",
    )
    tags: float = Field(default=0, ge=0, le=1, description="Share of questions that begin with their task's tag.")
    steps: int = Field(default=0, gt=0, description="Steps of the optimiser; left out where `epochs` are given.")
    epochs: NonNegativeFloat = Field(
        default=0, description="How often every image is shown, in an order shuffled anew each time."
    )
    warmup_epochs: NonNegativeFloat = Field(default=0, description="Epochs of linear warm-up, where epochs count.")
    global_batch: int = Field(
        default=0,
        ge=0,
        description="Questions in a step (196 in §V-A) on all devices together: `accumulate` micro-batches of images x "
        "dialogues x turns each (images x targets where phrases are fed). By default one such batch.",
    )
    images: int = Field(default=8, gt=0, description="Images in a micro-batch: what is computed at once.")
    dialogues: int = Field(
        default=1, gt=0, description="Dialogues about an image, in one sequence; they share the image, not their words."
    )
    turns: int = Field(default=5, gt=0, description="Questions in a dialogue.")
    questions: dict[str, NonNegativeFloat] = Field(
        default_factory=dict,
        description="How often each kind of question is asked, where it differs from `geopix.data.mixture.SHARES`.",
    )
    targets: int = Field(default=12, gt=0, description="Targets of an image in a step; more are left out.")
    relations_in_words: bool = Field(
        default=False,
        description="Whether the LLM is told what the cells say of themselves (docs/paper.md); the same in all stages.",
    )
    refine: bool = Field(default=True, description="False trains the initial masks only.")
    masks: bool = Field(
        default=True,
        description="False, of a stage of answers, trains the pointer alone: where an answer points, not its mask; "
        "eight times as many targets a second.",
    )
    learning_rate: float = Field(default=3e-4, gt=0)
    part_rates: dict[str, float] = Field(
        default_factory=dict, description="Multiples of the learning rate by prefix of the parameter's name; 0 freezes."
    )
    warmup: int = Field(default=100, ge=0, description="Steps of linear warm-up.")
    final_rate: float = Field(
        default=0.02, ge=0, description="Share of the learning rate that is left at the end (cosine)."
    )
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    clip: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    lora_rank: int = Field(default=32, gt=0)
    lora_alpha: int = 16
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    named_class: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of targets whose Q_c is the true class at the first step; 0 at the last.",
    )
    loss: LossWeights = LossWeights()
    seed: int = 0
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        default="auto",
        description="Of the model's parameters and features; the optimiser's copies are float32 either way. 'auto' "
        "takes bfloat16 where the processor is fast in it.",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Whether the LLM computes its layers anew backwards: less memory, a third slower."
    )
    on_bad_loss: Literal["stop", "skip"] = Field(
        default="stop", description="What becomes of a micro-batch whose loss is not finite; 'skip' leaves it out."
    )
    checkpoint_every: int = Field(default=250, gt=0)
    keep_last: int = Field(default=2, gt=0, description="Checkpoints that stay, beside the best.")
    best_by: Literal["loss", "word", "mask", "iou", "class_query", "relation", "pointer", "mask_iou"] = Field(
        default="loss",
        description="The number whose mean over the steps since the last checkpoint says which one is the best: the "
        "least, of mask_iou the greatest.",
    )
    overlays_every: int = Field(
        default=0, ge=0, description="Steps between two pictures of predicted and true masks in overlays/; 0 is never."
    )

    @property
    def questions_at_once(self) -> int:
        """Questions in a micro-batch; phrases where these are what is fed, images where nothing is said."""
        each = {"dialogue": self.dialogues * self.turns, "words": 1, "relations": 1}
        return self.images * each.get(self.language, self.targets)

    @property
    def can_be_asked(self) -> bool:
        """Whether what a stage trains belongs to a model that can be asked: there is an adapter."""
        return self.language in ("dialogue", "answers")

    @property
    def accumulate(self) -> int:
        """Micro-batches in a step, on all devices together; number k of step s is s times this + k."""
        return max(1, self.global_batch // self.questions_at_once)

    def rate_of(self, name: str) -> float:
        """The learning rate of a parameter: the multiple of the longest prefix in `part_rates` that fits its name."""
        fitting = [prefix for prefix in self.part_rates if name.startswith(prefix)]
        return self.learning_rate * (self.part_rates[max(fitting, key=len)] if fitting else 1.0)

    def in_steps(self, images: int) -> Stage:
        """The same stage told in steps, where it is told in epochs.

        Args:
            images: How many an epoch shows.

        Raises:
            ConfigError: If an epoch shows none.
        """
        if not self.epochs:
            return self
        at_once = self.images * self.accumulate
        steps, warmup = (math.ceil(count * images / at_once) for count in (self.epochs, self.warmup_epochs))
        if not steps:
            raise ConfigError(f"{self.name}: an epoch shows no image; give a source a share above 0")
        return self.model_copy(update={"steps": steps, "warmup": warmup})

    @model_validator(mode="after")
    def _agrees(self) -> Stage:
        if bool(self.steps) == bool(self.epochs):
            raise ValueError("give either steps or epochs, one of them and not both")
        if self.epochs and "warmup" in self.model_fields_set:
            raise ValueError("warmup counts steps; a stage of epochs takes warmup_epochs")
        if self.warmup_epochs and (not self.epochs or self.warmup_epochs >= self.epochs):
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}, which must be fewer than epochs")
        if self.global_batch % self.questions_at_once:
            raise ValueError(
                f"global_batch is {self.global_batch} questions, which micro-batches of {self.questions_at_once} do "
                "not make up; change images, dialogues or turns"
            )
        if strange := sorted((self.take.keys() | self.subsets.keys()) - self.sources.keys()):
            raise ValueError(f"take and subsets speak of {strange[0]!r}, which is not among the sources")
        if self.turned and (self.features == "cached" or self.language != "dialogue"):
            raise ValueError("turned needs features: each_step and language: dialogue; kept features are of one view")
        if not self.masks and self.language != "answers":
            raise ValueError(f"masks: false is for a stage of answers; one of {self.language} has its own way")
        if self.language == "answers":
            self._keeps_what_was_said()
        return self

    def _keeps_what_was_said(self) -> None:
        """Kept states hold as long as nothing trains that they were made with."""
        parts = ("language", "multimodal_projector", *(["mask_predictor.ordinal"] if self.relations_in_words else ()))
        within = [name for name in self.part_rates if name.startswith(parts)]
        if moving := [name for name in (*parts, *within) if self.rate_of(name)]:
            raise ValueError(
                f"answers are read once, so what makes them stays as it is: part_rates: set {moving[0]} to 0"
            )
        if self.epochs:
            raise ValueError("a stage of answers draws windows with replacement; give it steps, not epochs")


def load(path: Path, overrides: Sequence[str] = ()) -> Stage:
    """Read a stage from YAML and apply ``key=value`` overrides ("loss.dice=1.0").

    Raises:
        ConfigError: Naming the file, the key and what was expected.
    """
    return read(path, Stage, overrides)


def read(path: Path, kind: type[Settings], overrides: Sequence[str] = ()) -> Settings:
    """Read settings of any kind from YAML and apply ``key=value`` overrides.

    Raises:
        ConfigError: Naming the file, the key and what was expected.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} can't be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} holds {type(settings).__name__}, not settings of the form 'key: value'")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"'{override}' is not of the form key=value")
        try:
            _put(settings, key.split("."), yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: {key}: {value!r} is not a YAML value; quote it") from error
        except ValueError as error:
            raise ConfigError(f"{path}: {key}: {error}") from error
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(piece) for piece in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(": ".join(filter(None, (str(path), where, said)))) from error


def _put(settings: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        if settings.get(key) is None:
            settings[key] = {}
        settings = settings[key]
        if not isinstance(settings, dict):
            raise ValueError(f"{key} is {settings!r}, which has no settings inside")
    settings[keys[-1]] = value
