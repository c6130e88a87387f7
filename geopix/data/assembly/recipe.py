"""What to build a set from and how, as a YAML file (§IV-A, §IV-B); every number of the paper is a setting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from geopix.config import Checked, read
from geopix.data.construct import MAX_INSTANCES, MAX_PER_CLASS
from geopix.records import Split

Word = Annotated[str, StringConstraints(pattern=r"^\w+$")]


class Filter(Checked):
    """Which images descriptions can be written for: few objects of one class, few in all (§IV-A)."""

    max_per_class: int = Field(default=MAX_PER_CLASS, gt=0, description="Largest number of one class; fewer than five.")
    max_total: int = Field(default=MAX_INSTANCES, gt=0, description="Largest number of objects in all.")
    count_by: Literal["category", "class"] = Field(
        default="category",
        description="'category': as the source names them, as the paper counts. 'class': by our canonical names, "
        "where a van and a small car are both vehicles; stricter.",
    )


class Join(Checked):
    """Descriptions from another set of the same images, by their boxes (§IV-B, SIOR-T)."""

    path: Path = Field(description="The set that holds the descriptions (DIOR-RSVG).")
    tolerance_px: float = Field(default=10, ge=0, description="Largest difference of any side of two boxes.")
    same_class: bool = Field(default=True, description="Whether the two must be of one class, where both are known.")
    undescribed: Literal["drop", "keep"] = Field(
        default="drop", description="What happens to objects, and images, that get no description."
    )


class Windows(Checked):
    """Windows of images that are too large, or too crowded to pass the filter (§IV-A)."""

    sides: tuple[Annotated[int, Field(ge=32, le=4096)], ...] = Field(
        min_length=1, description="Sides in pixels, tried in this order; an image smaller than that is cut to fit."
    )
    overlap: float = Field(default=0.5, ge=0, le=0.9, description="Share of its side that a window has in common.")
    larger_than: int = Field(
        default=2048, gt=0, description="Images with a longer side than this are never kept whole."
    )
    crowded: bool = Field(default=True, description="Whether images that the filter refuses are cut as well.")


class Twins(Checked):
    """What becomes of images that are there twice, exactly or nearly."""

    bits: int = Field(
        default=48,
        ge=0,
        le=96,
        description="Bits of 256 in which the perceptual hashes of two images of one place may differ.",
    )
    leaks: Literal["drop", "refuse", "report"] = Field(
        default="drop",
        description="Twins in different splits, or in an evaluation set. 'drop' leaves out the one nearer to training.",
    )
    duplicates: Literal["drop", "refuse", "report"] = Field(
        default="drop", description="Twins in the same split. 'drop' keeps the first."
    )


class Source(Checked):
    """A set that goes in."""

    path: Path = Field(description="Its folder, from the folder of sets.")
    subset: Word = Field(description="What its part of the result is called, SIOR_T for one.")
    splits: tuple[Split, ...] = Field(default=("train", "val", "test"), description="The splits taken from it.")
    join: Join | None = None


class Evaluation(Checked):
    """Images that nothing may be trained on: a set, or a plain folder of pictures."""

    path: Path
    splits: tuple[Split, ...] = Field(default=("val", "test"), description="Of a set; of a folder all are taken.")


class Recipe(Checked):
    """A set to build."""

    name: str = Field(min_length=1, max_length=100, description="What the result is called.")
    sets: tuple[Source, ...] = Field(min_length=1)
    evaluation: tuple[Evaluation, ...] = Field(default=(), description="Every set that will be evaluated on.")
    filter: Filter = Filter()
    windows: Windows | None = None
    twins: Twins = Twins()
    verify: Literal["off", "count", "drop"] = Field(
        default="off",
        description="Whether every description is held against all boxes of its image (`geopix.data.verify`). 'count' "
        "tells the outcomes; 'drop' leaves out those that are false or may mean another object, too.",
    )
    pixels: bool = Field(
        default=True,
        description="False builds from annotations alone: images are not opened, so neither checked nor compared.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if not self.pixels and (self.windows or self.evaluation):
            raise ValueError("windows and evaluation need the images, so pixels can't be false")
        if len({source.subset for source in self.sets}) < len(self.sets):
            raise ValueError("every set needs a subset name of its own")
        return self


def load(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe from YAML and apply ``key=value`` overrides ("filter.max_total=8").

    Raises:
        ConfigError: Naming the file, the key and what was expected.
    """
    return read(path, Recipe, overrides)
