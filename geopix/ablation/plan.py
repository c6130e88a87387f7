"""The rows of Tables IX, X and XI as named overrides of one default (§V-F)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, ValidationError

from geopix import config
from geopix.config import Checked, ConfigError, Stage
from geopix.model.memory import Fusion

Test = Literal["predicted", "top-1", "given", "wrong", "unknown", "none", "initial"]
"""Where Q_c comes from when a row is scored: the model's three best classes mixed; its best; the true class; another
on purpose; the slot for unknown classes; nowhere, F(h) left out of Eq. 2; nowhere, Eq. 2-3 left out whole."""


class Design(Checked):
    """What of the mask path a row may change."""

    fusion: Fusion = Field(default="conv3d", description="F of Table IX; 'none' is its w/o.")
    capacity: PositiveInt = Field(default=64, description="N of Table IX: entries of a class in the bank.")
    shared_projector: bool = Field(default=False, description="Table X: one projector for all scales.")
    one_token: Literal["no", "coarse", "fine"] = Field(
        default="no",
        description="LISA's: one segmentation token, one scale. 'coarse' keeps the coarse scale's decoder, which was "
        "taught to draw first, and its masks of half the side; 'fine' has the fine scale's decoder, which was taught "
        "to refine and must learn to draw.",
    )


class Phase(Checked):
    """A stretch of a row's training (Table XI)."""

    share: float = Field(default=1.0, gt=0, le=1, description="Of all the row's steps.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Of `geopix.config.Stage`, where they differ.")


class Row(Checked):
    """One row of a table; every field says how it differs from the default."""

    says: str = Field(description="What a reader of the table is told.")
    table: Literal["IX", "X", "XI", "-"] = Field(default="-", description="Of the paper, '-' where it has none.")
    paper: tuple[float, float] | None = Field(default=None, description="The paper's mIoU and cIoU, in percent.")
    design: dict[str, Any] = Field(default_factory=dict, description="Overrides of the plan's design.")
    phases: tuple[Phase, ...] = Field(default=(Phase(),), min_length=1)
    trained: bool = Field(default=True, description="False scores the model as it is: rows about test time alone.")
    test: Test = "predicted"
    full: bool = Field(default=False, description="Whether the language side trains too, in whole dialogues.")
    against: str = Field(default="default", description="The row that this one is compared with.")
    slow: bool = Field(default=False, description="Left out unless it is named.")


class Plan(Checked):
    """A whole ablation."""

    windows: dict[str, PositiveInt] = Field(min_length=1, description="Windows to cache states of, by feature store.")
    dialogues: PositiveInt = Field(default=3, description="Dialogues of one question that are read about a window.")
    questions: dict[str, NonNegativeFloat] = Field(min_length=1, description="Kinds of these questions, with shares.")
    validation: PositiveInt = Field(default=240, description="Validation questions that score a row.")
    seed: int = Field(default=0, description="Of what is cached; rows have seeds of their own.")
    design: Design = Design()
    stage: dict[str, Any] = Field(description="Settings of `geopix.config.Stage` for the mask side, every row's.")
    full: dict[str, Any] = Field(description="The same for the rows that train the language side too.")
    rows: dict[str, Row] = Field(min_length=1)

    def design_of(self, name: str) -> Design:
        """The default design with a row's overrides."""
        return Design.model_validate({**self.design.model_dump(), **self.rows[name].design})

    def stages_of(self, name: str, seed: int) -> list[Stage]:
        """What a row trains, phase by phase; rows of one kind and seed draw the same batches."""
        row, stages = self.rows[name], []
        common = self.full if row.full else {**self.stage, "language": "answers", "sources": self.windows}
        for number, phase in enumerate(row.phases):
            steps = max(1, round(phase.share * int(common.get("steps", 1))))
            merged = {**common, "name": f"phase{number}", **phase.settings, "steps": steps}
            stages.append(Stage.model_validate({**merged, "seed": 1000 * number + seed}))
        return stages

    def chosen(self, names: Sequence[str]) -> list[str]:
        """The rows to run: those named, or all but the slow ones, and what they are compared with; in the file's order.

        Raises:
            ConfigError: If there is no such row.
        """
        if unknown := sorted(set(names) - set(self.rows)):
            raise ConfigError(f"there is no row {unknown[0]!r}; there are {', '.join(self.rows)}")
        wanted = set(names or (name for name, row in self.rows.items() if not row.slow))
        wanted |= {self.rows[name].against for name in wanted}
        return [name for name in self.rows if name in wanted]


def load(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read a plan and check every row of it.

    Raises:
        ConfigError: Naming the file, the row and what was expected.
    """
    plan = config.read(path, Plan, overrides)
    for name, row in plan.rows.items():
        try:
            design = plan.design_of(name)
            plan.stages_of(name, 0)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ConfigError(f"{path}: rows.{name}: {where}: {first['msg']}") from error
        other = plan.rows.get(row.against)
        if other is None:
            raise ConfigError(f"{path}: rows.{name}: against: there is no row {row.against!r}")
        if (row.full or row.trained) and (row.full, row.trained) != (other.full, other.trained):
            raise ConfigError(f"{path}: rows.{name}: against: {row.against!r} is not trained in the same way")
        if row.full and design.one_token != "no":
            raise ConfigError(f"{path}: rows.{name}: one token a group is for cached states; leave 'full' out")
        if not row.trained and row.design:
            raise ConfigError(f"{path}: rows.{name}: a row that is not trained has the model's design; leave it out")
        if row.trained and abs(sum(phase.share for phase in row.phases) - 1) > 1e-6:
            raise ConfigError(f"{path}: rows.{name}: phases: their shares do not add up to 1")
    return plan
