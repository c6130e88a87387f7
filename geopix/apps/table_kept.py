"""``geopix table 1, 9, 10, 11``: what is known already, the field's systems and results of runs (Table I, §V-F)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geopix.apps.table import TableCommandError, check_outputs, give

TABLES = (1, 9, 10, 11)


def run(number: int, named: Sequence[str], runs: Path | None, outputs: Sequence[Path], overwrite: bool) -> None:
    """Make a table that asks nobody, print it, and write it to every file that is named.

    Args:
        number: One of `TABLES`.
        named: NAME=FILE for each table of a trained model (11 alone).
        runs: Where ``geopix ablate`` has put its results (9, 10, 11).
        outputs: Files.
        overwrite: Whether they may exist.

    Raises:
        TableCommandError: If too much or too little is given, or an output can't be written.
        ValueError: If results can't be used.
        OSError: If a file can't be read or written.
    """
    check_outputs(outputs, overwrite)
    if named and (number != 11 or runs is not None):
        raise TableCommandError(f"table {number} takes no {named[0]}; NAME=FILE is for table 11, without --runs")
    if number == 1:
        if runs is not None:
            raise TableCommandError("table 1 tells the field and takes no --runs; leave it out")
        from geopix.evaluate.field import field_table

        made = field_table()
    elif named:
        from geopix.evaluate.strategies import strategies

        made = strategies(named)
    elif runs is not None:
        from geopix.ablation.tables import ablation_table

        made = ablation_table(number, runs)
    else:
        more = ", or name the tables of trained models: NAME=FILE.json" if number == 11 else ""
        raise TableCommandError(
            f"table {number} is made of results; give the folder of geopix ablate's with --runs{more}"
        )
    give(made, outputs)
