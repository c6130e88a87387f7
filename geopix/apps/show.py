"""Text and tables on a terminal (Fig. 1, right side), for every command; needs nothing but rich."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from geopix.apps.errors import clean

_SLIVER = 11
"""Characters that a column needs on average to be read."""


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Send what libraries print to stderr: stdout is for answers, and ``--json`` promises one line."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def plain(text: object) -> Text:
    """Text shown as it is: "[1]" is a mark of ours, not rich's markup."""
    return Text(clean(str(text)))


def table(headings: Iterable[str], rows: Iterable[Iterable[object]], numeric: Iterable[str] = ()) -> Table:
    """A small table; the columns named in ``numeric`` are aligned right."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    right = set(numeric)
    for heading in headings:
        made.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(plain(cell) for cell in row))
    return made


def paper(room: int = 140) -> Console:
    """Where results are printed: as wide as the terminal; whoever reads a file has at least this much room."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, room)
    return console


def rows(console: Console, headings: Sequence[str], found: Iterable[Sequence[object]]) -> None:
    """Print a table, or where its columns would be slivers, each row as lines of their own."""
    if len(headings) * _SLIVER <= console.width:
        console.print(table(headings, found))
        return
    for first, *others in found:
        console.print(Text(clean(str(first)), style="bold"))
        for heading, cell in zip(headings[1:], others, strict=True):
            if str(cell):
                console.print(plain(f"  {heading}: {cell}"))


@contextlib.contextmanager
def counting(
    what: str, total: int, note: Callable[[], str] = lambda: "", done: int = 0
) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; gives the function that moves it.

    Args:
        what: Is being done.
        total: How many there are, 0 where nobody knows.
        note: What to say beside the bar, asked at every move.
        done: How many were done before.
    """
    bar = _bars(what, MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with bar:
        task = bar.add_task("", total=total or None, completed=done, note="")
        yield lambda now: bar.update(task, completed=now, note=note())


def print_text(text: str) -> None:
    """Print a text of the model on stdout, unwrapped and uncoloured."""
    Console(highlight=False).print(plain(text), soft_wrap=True)


def megabytes(size: float) -> str:
    """A size in bytes for people, in decimal megabytes or gigabytes."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


@contextlib.contextmanager
def watched() -> Iterator[Callable[[str, int, int], None]]:
    """Bars on stderr for what a room tells: what it does, how much of it is done, and how much there is."""
    bars = _bars("{task.description}", TaskProgressColumn())
    tasks: dict[str, TaskID] = {}

    def watch(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    with bars:
        yield watch


def _bars(what: str, done: ProgressColumn, *more: ProgressColumn) -> Progress:
    """Bars on stderr: what is being done, how much of it, since when, for how long still."""
    times = (TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
    return Progress(TextColumn(what), BarColumn(), done, *times, *more, console=Console(stderr=True))
