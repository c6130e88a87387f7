"""``geopix data import``: a foreign set read with a bar, and what was kept and left out in tables (§IV)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console

from geopix.apps import show
from geopix.apps.errors import complain
from geopix.data.entries import EntryError
from geopix.data.importing import Tally, Wish, import_set
from geopix.data.sources.kinds import KINDS


def run(kind: str, folder: Path, out: Path, *, overwrite: bool, **wished: Any) -> None:
    """Import, and print the two tables.

    Args:
        kind, folder, wished: See `geopix.data.importing.Wish`.
        out: The set's folder.
        overwrite: Whether a set there is replaced.

    Raises:
        EntryError: If it can't be done, with the sentence for the user.
        OSError: If a file can't be read or written.
        KeyboardInterrupt: After Ctrl-C; nothing has been written then.
    """
    if kind not in KINDS:
        raise EntryError(f"{kind!r} is no kind of set", f"one of {', '.join(KINDS)}; see geopix data import --help")
    options = [
        f"--{option}={value}"
        for option, value in (
            ("images", wished["images"]),
            ("split", wished["only"]),
            ("as-split", wished["called"]),
            ("name", wished["name"]),
            ("check", wished["check"]),
        )
        if value is not None
    ]
    options += [] if wished["complete"] else ["--incomplete"]
    step = shlex.join(["geopix", "data", "import", kind, str(folder), "-o", str(out), *options])
    try:
        with show.watched() as watch:
            tally = import_set(Wish(kind, folder, **wished), out, overwrite=overwrite, watch=watch, step=step)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped before everything was read, nothing was written") from None
    tell(tally)
    complain(f"wrote {out}")


def tell(tally: Tally) -> None:
    """Print what was kept, and what was left out and why."""
    console = Console(highlight=False)
    console.print(show.table(("kept", "n"), [(name, f"{n:,}") for name, n in tally.counts.items() if n], ("n",)))
    if tally.skipped:
        rows = [(reason, f"{n:,}", tally.examples[reason][:120]) for reason, n in tally.skipped.most_common()]
        console.print()
        console.print(show.table(("left out", "n", "the first"), rows, ("n",)))
    else:
        console.print("nothing was left out")
