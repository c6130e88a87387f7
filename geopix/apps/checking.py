"""``geopix data check``: how many descriptions mean one object, by class and arrangement (§IV-C)."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from geopix.apps import show
from geopix.apps.errors import complain
from geopix.data.entries import EntryError, SetReader
from geopix.data.verify.check import OUTCOMES, Outcome
from geopix.data.verify.rates import Rates, check_set


def run(source: Path, as_json: bool, output: Path | None, overwrite: bool) -> None:
    """Check a set and print the rates.

    Args:
        source: The set's folder.
        as_json: Whether to print JSON instead of tables.
        output: Where to write what is not unique, or None.
        overwrite: Whether a file there is replaced.

    Raises:
        EntryError: If it is no set, or the output is taken.
        OSError: If a file can't be read or written.
    """
    reader = SetReader(source)
    if output is not None and output.exists() and not (overwrite and output.is_file()):
        raise EntryError(f"{output} exists", "name a new file, or give --overwrite")
    with ExitStack() as stack:
        staging = None if output is None else output.with_name(f".{output.name}.part")
        file = None if staging is None else stack.enter_context(staging.open("w", encoding="utf-8"))
        if staging is not None:
            stack.callback(staging.unlink, missing_ok=True)

        def tell(finding: dict[str, Any]) -> None:
            if file is not None:
                file.write(json.dumps(finding, ensure_ascii=False) + "\n")

        with show.counting("checking", reader.about.counts.get("images", 0)) as watch:
            rates = check_set(reader, tell, watch)
        if file is not None and staging is not None and output is not None:
            file.close()
            staging.replace(output)
            complain(f"wrote {output}")
    if as_json:
        print(json.dumps(rates.to_json()))
    else:
        tell_rates(rates)


def tell_rates(rates: Rates) -> None:
    """Print the rates as a table, then what is not in it."""
    console = Console(highlight=False)
    rows = [(name, kind, f"{n:,}", *_cells(n, counts)) for name, kind, n, counts in rates.rows()]
    total = {outcome: rates.total(outcome) for outcome in OUTCOMES}
    rows.append(("all", "", f"{rates.total():,}", *_cells(rates.total(), total)))
    console.print(show.table(("class", "arrangement", "n", *OUTCOMES), rows, ("n", *OUTCOMES)))
    silent = sum(rates.silent.values())
    if silent:
        console.print(f"objects without a description: {silent:,}")
    for reason, n in rates.unchecked.most_common():
        console.print(show.plain(f"images that could not be checked, {reason}: {n:,}"))


def _cells(n: int, counts: dict[Outcome, int]) -> list[str]:
    return [f"{count:,} ({100 * count / n:.1f} %)" if n and count else "0" for count in counts.values()]
