"""The settings of a run: typed, documented, from YAML plus ``key=value`` (§V-A)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, ValidationError, model_validator


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
    language: Literal["relations", "pointing", "phrases", "words", "dialogue"] = Field(
        default="dialogue",
        description="'relations': the ordinal encoding's cells alone, from masks. 'pointing': the pointer alone. "
        "'phrases': the mask side alone. Both are fed the frozen LLM's states of referring phrases, computed once. "
        "'words': the multi-modal projector alone, every image token against the LLM's own embedding of what it "
        "shows. 'dialogue': everything, in whole dialogues.",
    )
    start_from: tuple[str, ...] = Field(default=(), description="Stages whose weights this one starts with, in order.")
    sources: dict[str, NonNegativeFloat] = Field(
        min_length=1, description="Feature stores to draw images from, with their shares."
    )
    steps: int = Field(gt=0)
    images: int = Field(default=8, gt=0, description="Images in a micro-batch: what is computed at once.")
    global_batch: int | None = Field(
        default=None,
        gt=0,
        description="Images in an update (196 in the paper, an image being a sample), made of micro-batches of "
        "`images` on however many devices; a multiple of `images`. By default one micro-batch is an update.",
    )
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
    def accumulate(self) -> int:
        """Micro-batches in an update."""
        return (self.global_batch or self.images) // self.images

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> Stage:
        if (self.global_batch or self.images) % self.images:
            near = max(1, round(self.accumulate)) * self.images
            raise ValueError(f"global_batch is {self.global_batch}, no multiple of images={self.images}; say {near}")
        return self


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
        raise ConfigError(f"{path}: {where}: {first['msg']}") from error


def _put(settings: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        if settings.get(key) is None:
            settings[key] = {}
        settings = settings[key]
        if not isinstance(settings, dict):
            raise ValueError(f"{key} is {settings!r}, which has no settings inside")
    settings[keys[-1]] = value
