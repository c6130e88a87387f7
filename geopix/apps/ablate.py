"""``geopix ablate``: rows of Tables IX, X and XI, with a verdict for each (§V-F)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from geopix.apps import show
from geopix.apps.errors import complain


class AblateError(ValueError):
    """An ablation that can't be started or go on."""


def run(
    config: Path, overrides: Sequence[str], *, rows: Sequence[str], seeds: int, data: Path, runs: Path, model: str
) -> None:
    """Run the rows that have no result yet; print and write the table of those that have one.

    Args:
        config: The settings file.
        overrides: ``key=value`` changes to it.
        rows: Names of rows; none for all but the slow ones.
        seeds: Training runs of a row.
        data: The folder that holds nwpu_vhr10.
        runs: Holds the feature stores, takes the results.
        model: What every row begins with.

    Raises:
        AblateError: If a folder is missing or the training fell over, with the sentence for the user.
        ValueError: If the settings are wrong, or the model can't be loaded.
        OSError: If something can't be read or written.
        KeyboardInterrupt: After Ctrl-C, saying how to go on.
    """
    if not config.is_file():
        raise AblateError(f"there is no settings file {config}; give a YAML file such as configs/ablation.yaml")
    for name in ("annotations.json", "split.json"):
        if not (data / "nwpu_vhr10" / name).is_file():
            raise AblateError(
                f"{data / 'nwpu_vhr10' / name} is missing; give the folder that holds nwpu_vhr10 with --data"
            )
    from geopix.ablation import plan as settings

    plan = settings.load(config, overrides)
    plan.chosen(rows)
    if runs.exists() and not runs.is_dir():
        raise AblateError(f"{runs} is a file, where a folder was expected; name another with --runs")
    runs.mkdir(parents=True, exist_ok=True)
    try:
        with show.quiet_stdout(), _watched() as watch:
            from geopix.ablation.run import run as ablate  # seconds of torch: after wrong paths have been told

            found = ablate(plan, rows, seeds, data, runs, model, watch, _done)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; run the same command again to continue") from None
    except FloatingPointError as error:
        raise AblateError(f"{error}; run the same command again with a lower stage.learning_rate") from error
    _print(found)
    complain(f"wrote {runs / 'ablation' / 'table.json'} and table.md beside it")
    complain(f"beside the paper's rows: geopix table 9 --runs {runs}; 10 and 11 likewise")


def _print(found: dict[str, Any]) -> None:
    from geopix.ablation.results import SHORT, short

    console = show.paper()
    show.rows(console, SHORT, short(found))
    for line in found["footer"]:
        console.print(show.plain(line), soft_wrap=True)


def _done(result: Any) -> None:
    miou = sum(score[0] for score in result.scores) / len(result.scores)
    minutes = result.train_minutes + result.score_minutes
    complain(f"{result.row}, seed {result.seed}: mIoU {100 * miou:.2f}, {minutes:.1f} minutes")


@contextlib.contextmanager
def _watched() -> Iterator[Callable[[str, int, int], None]]:
    """Two bars: the rows, and what is being done right now."""
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left:"),
        TimeRemainingColumn(), console=Console(stderr=True),
    )  # fmt: skip
    current: tuple[str, int] = "", 0

    def watch(what: str, done: int, total: int) -> None:
        nonlocal current
        task = rows if what == "rows" else now
        if what != "rows":
            kind = what.split(":")[0], total  # what follows a colon changes while the work stays the same
            if kind != current:
                bars.reset(now, total=total, visible=True)
                current = kind
        bars.update(task, completed=done, total=total, description=what, visible=True)

    with bars:
        rows, now = bars.add_task("rows", total=None, visible=False), bars.add_task("", total=None, visible=False)
        yield watch
