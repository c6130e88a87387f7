"""``geopix data describe``: who describes, what it costs, how far it has come, what was kept (§IV-C)."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from geopix.apps import show
from geopix.apps.errors import complain
from geopix.data.describe.batch import Batch
from geopix.data.describe.endpoint import Endpoint, connect
from geopix.data.describe.geometry import Geometry
from geopix.data.describe.money import PRICES_FROM, Price, Purse, expected_tokens, price_of
from geopix.data.describe.replay import Replay
from geopix.data.describe.replies import Replies
from geopix.data.describe.run import Told, describe_set
from geopix.data.describe.settle import Wish, wanted
from geopix.data.describe.task import Describer, StopError, Task
from geopix.data.entries import SetReader

if TYPE_CHECKING:
    from openai import OpenAI


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked and how, as `geopix data describe --help` tells it."""

    by: Literal["geometry", "endpoint", "replay"]
    model: str
    base_url: str | None
    replies: Path | None
    budget_usd: float | None
    price: tuple[float, float] | None
    estimate: bool
    batch: bool
    poll_s: float
    concurrency: int
    retries: int
    timeout_s: float


def run(source: Path, out: Path, asked: Asked, wish: Wish, *, overwrite: bool) -> int:
    """Describe a set; the number of images that somebody should have answered about and did not.

    Raises:
        EntryError: If the set is broken or ``out`` is taken.
        StopError: If the job can't go on.
        OSError: If a file can't be read or written.
        KeyboardInterrupt: After Ctrl-C; answers are kept, the set is not written.
    """
    reader = SetReader(source)
    words = ["geopix", "data", "describe", str(source), "-o", str(out), "--by", asked.by]
    words += ["--model", asked.model] if asked.by == "endpoint" else []
    step = shlex.join(words)
    if asked.by != "endpoint":
        path = asked.replies
        if asked.by == "replay" and path is None:
            raise StopError("--by replay reads a file of answers; name it with --replies")
        describer: Describer = Geometry() if path is None or asked.by == "geometry" else Replay(path)
        if asked.estimate:
            complain("nothing: nobody is asked")
            return 0
        return _described(reader, out, describer, wish, 1, overwrite, step, lambda: "")
    price = Price(*asked.price) if asked.price is not None else price_of(asked.model, asked.batch)
    if price is None and asked.budget_usd is not None:
        raise StopError(f"no price of {asked.model} is known, so no budget can be kept; give --price IN,OUT")
    with ExitStack() as stack:
        replies = Replies(asked.replies or out.with_name(out.name + ".replies"))
        stack.callback(replies.close)
        purse = Purse(price, asked.budget_usd, replies.spent_usd)
        _tell_estimate(reader, wish, purse, replies, asked)
        if asked.estimate:
            return 0
        client = connect(asked.base_url, asked.retries, asked.timeout_s)
        stack.callback(client.close)
        describer = _asking(client, asked, replies, purse)
        try:
            concurrency = 1 if asked.batch else asked.concurrency
            return _described(
                reader, out, describer, wish, concurrency, overwrite, step, lambda: _spent(purse, replies)
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped; {len(replies):,} answers are kept in {replies.path}, run the same command again to go on"
            ) from None
        finally:
            complain(f"{_spent(purse, replies)} in all, answers in {replies.path}")


def _asking(client: OpenAI, asked: Asked, replies: Replies, purse: Purse) -> Describer:
    if not asked.batch:
        return Endpoint(client, asked.model, replies, purse)

    def watch(done: int, total: int) -> None:
        complain(f"batches: {done:,} of {total:,} questions are over, {_spent(purse, replies)}")

    return Batch(client, asked.model, replies, purse, asked.poll_s, watch)


def _described(
    reader: SetReader,
    out: Path,
    describer: Describer,
    wish: Wish,
    concurrency: int,
    overwrite: bool,
    step: str,
    note: Callable[[], str],
) -> int:
    with show.counting("describing", reader.about.counts.get("images", 0), note) as watch:
        told = describe_set(
            reader,
            out,
            describer,
            wish,
            concurrency=concurrency,
            overwrite=overwrite,
            step=step,
            watch=watch,
            hold_on=lambda n: complain(f"waiting for answers about {n} images, they are paid for; Ctrl-C leaves them"),
        )
    _tell(told)
    complain(f"wrote {out}")
    if told.unanswered:
        complain(f"{told.unanswered:,} images had no answer; run again with --overwrite to ask about them alone")
    return told.unanswered


def _tell_estimate(reader: SetReader, wish: Wish, purse: Purse, replies: Replies, asked: Asked) -> None:
    """Say what is to be asked and what it will cost, answers that are there already left out."""
    images = tokens_in = tokens_out = 0
    with show.counting("counting", reader.about.counts.get("images", 0)) as watch:
        for done, entry in enumerate(reader, start=1):
            left = wanted(entry, wish)
            if left and entry.key not in replies.keys:
                expected = expected_tokens(Task(entry, reader.images, left))
                images, tokens_in, tokens_out = images + 1, tokens_in + expected[0], tokens_out + expected[1]
            watch(done)
    cost = "at a price that nobody told (--price)"
    if purse.price is not None:
        source = "as told" if asked.price is not None else f"at {asked.model}'s price of {PRICES_FROM}"
        cost = f"some ${purse.price.of(tokens_in, tokens_out):,.2f} {source}"
    complain(
        f"{images:,} images to ask about, {tokens_in + tokens_out:,} tokens, {cost}, plus what must be asked again; "
        f"{len(replies):,} answers are there already, ${replies.spent_usd:,.4f} spent"
    )


def _spent(purse: Purse, replies: Replies) -> str:
    money = f"${purse.spent_usd:,.4f} spent" if purse.price is not None else "price unknown"
    return f"{len(replies):,} answers, {money}"


def _tell(told: Told) -> None:
    """Print what was kept, and what was left without a description and why."""
    console = Console(highlight=False)
    counts = Counter({name: n for name, n in told.counts.items() if n})
    console.print(show.table(("descriptions", "n"), [(name, f"{n:,}") for name, n in counts.items()], ("n",)))
    if told.dropped:
        console.print()
        rows = [(reason, f"{n:,}") for reason, n in told.dropped.most_common()]
        console.print(show.table(("objects left without one", "n"), rows, ("n",)))
