"""``geopix data finetune``: examples to an endpoint, and the job watched to its end (§IV-C)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from geopix.apps import show
from geopix.apps.errors import clean, complain
from geopix.data.finetune import limits
from geopix.data.finetune.endpoint import Endpoint, FinetuneError, State
from geopix.data.finetune.job import Note, follow, start

PRICES = {"gpt-4o-2024-08-06": 25.0}
"""US dollars a million trained tokens, OpenAI's list price; --price takes precedence."""
USUAL_EPOCHS = 3
"""What endpoints tend to choose, for the estimate only."""


def run(
    path: Path | None,
    *,
    model: str | None,
    base_url: str | None,
    job: str | None,
    epochs: int | None,
    suffix: str | None,
    price: float | None,
    budget: float | None,
    dry: bool,
    yes: bool,
    again: bool,
    every_s: float,
) -> None:
    """Check, estimate, ask, send, start and watch; or only watch.

    Args:
        path: The examples; None where a job is only watched.
        model: What to teach.
        base_url: The endpoint, or None for OpenAI's own.
        job: A job to watch, or None.
        epochs, suffix: As in `geopix.data.finetune.job.Note`.
        price: Dollars a million trained tokens, or None where it is not known.
        budget: Dollars that the estimate may reach, or None.
        dry: Whether to leave after the estimate.
        yes: Whether the user has said yes already.
        again: Whether another job is started though there was one for this order.
        every_s: Seconds between two looks at the job.

    Raises:
        ExamplesError, FinetuneError: If it can't be done, with the sentence for the user.
        OSError: If a file can't be read or written.
        KeyboardInterrupt: After Ctrl-C, saying how to go on.
    """
    if (path is None) == (job is None):
        raise FinetuneError("give the examples and --model to start a job, or --job alone to watch one")
    if job is not None:
        _watch(Endpoint(base_url), job, every_s)
        return
    assert path is not None
    if model is None:
        raise FinetuneError("name the model to teach with --model, as gpt-4o-2024-08-06")
    with show.watched() as watch:
        contents = limits.check(path, watch)
    _estimate(contents, model, epochs, price, budget)
    if dry:
        return
    endpoint = Endpoint(base_url)
    note_path = path.with_name(f"{path.name}.job.json")
    order = Note(contents.sha256, endpoint.address, model, epochs, suffix)
    known = Note.read(note_path)
    begun = known is not None and known.ordered() == order and bool(known.job) and not again
    if not begun and not yes:
        _ask(path, contents, endpoint.address)
    try:
        with show.watched() as watch:
            started, new = start(endpoint, path, note_path, order, again=again, watch=watch)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; run the same command again, nothing that arrived is sent twice") from None
    complain(f"started {started}" if new else f"{started} was started before for this order; --again starts another")
    _watch(endpoint, started, every_s)


def _estimate(
    contents: limits.Contents, model: str, epochs: int | None, price: float | None, budget: float | None
) -> None:
    times = epochs or USUAL_EPOCHS
    dollar = PRICES.get(model) if price is None else price
    tokens = contents.tokens * times
    cost = None if dollar is None else tokens / 1e6 * dollar
    rows = [
        ("examples", f"{contents.examples:,}"),
        ("images", f"{contents.images:,}"),
        ("size", show.megabytes(contents.bytes)),
        ("tokens an epoch, about", f"{contents.tokens:,}"),
        ("epochs" if epochs else "epochs, if the endpoint chooses so", f"{times}"),
        ("tokens trained, about", f"{tokens:,}"),
        ("dollars, about", "not known; give --price" if cost is None else f"{cost:,.2f}"),
    ]
    Console(highlight=False).print(show.table(("estimate", ""), rows, ("",)))
    if budget is not None and cost is None:
        raise FinetuneError(f"the price of {clean(model)} is not known, so --budget can't be kept; give --price")
    if budget is not None and cost is not None and not cost <= budget:
        raise FinetuneError(
            f"about {cost:,.2f} dollars would be more than the budget of {budget:,.2f}; nothing was sent"
        )


def _ask(path: Path, contents: limits.Contents, address: str) -> None:
    """Nothing leaves the machine before somebody said yes."""
    if not sys.stdin.isatty():
        raise FinetuneError("nobody is there to be asked; add --yes to send the examples and start the job")
    what = f"Send {path} ({show.megabytes(contents.bytes)}, {contents.images:,} images) to {address} and start the job?"
    if not typer.confirm(clean(what), err=True):
        raise FinetuneError("nothing was sent")


def _watch(endpoint: Endpoint, job: str, every_s: float) -> None:
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
    )
    seen: list[str] = []

    def told(state: State) -> None:
        bar.update(task, status=clean(state.status)[:40], note=_note(state))
        if not bar.console.is_terminal and state.status not in seen[-1:]:
            complain(f"{job}: {clean(state.status)[:40]}")
        seen.append(state.status)

    try:
        with bar:
            task = bar.add_task("", status="asking", note="")
            end = follow(endpoint, job, told, every_s=every_s)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped watching, the job goes on; watch it again with: geopix data finetune --job {job}"
        ) from None
    if end.status != "succeeded":
        why = f": {' '.join(end.said.split())[:500]}" if end.said else ""
        raise FinetuneError(f"{job} {end.status}{why}")
    if not end.model:
        raise FinetuneError(f"{job} succeeded, but the endpoint does not name the model; look there")
    show.print_text(end.model)
    trained = "" if end.trained_tokens is None else f" after {end.trained_tokens:,} trained tokens"
    complain(f"{job} succeeded{trained}; describe with it: geopix data describe SET --model {end.model}")


def _note(state: State) -> str:
    parts = []
    if state.trained_tokens:
        parts.append(f"{state.trained_tokens:,} tokens")
    if state.ends_at:
        parts.append(f"done in about {max(0, round((state.ends_at - time.time()) / 60))} min")
    return ", ".join([*parts, " ".join(clean(state.said).split())[:120]])
