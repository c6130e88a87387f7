"""The judge of ``geopix table --judge``: opened before long work begins, told what it costs (§V-C, §V-D)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from geopix.apps import show

if TYPE_CHECKING:
    from geopix.evaluate.judge import Judge

Question = TypeVar("Question")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Asked:
    """Who judges, as `geopix table --help` tells it.

    Args:
        model: The judge's name at its endpoint.
        base_url: The endpoint; None is OpenAI's own.
        replies: Where its answers are kept.
        retries: Repeats of a question that the endpoint fails.
        timeout_s: How long an answer may take.
    """

    model: str
    base_url: str | None
    replies: Path
    retries: int
    timeout_s: float


@contextmanager
def judging(asked: Asked | None, meet: bool) -> Iterator[Judge | None]:
    """The judge, or None where nobody is named.

    Args:
        asked: Who.
        meet: Whether to ask one question at once, so that a wrong key is told now.

    Raises:
        JudgeError: If the judge can't be asked.
        OSError: If its answers can't be kept.
    """
    if asked is None:
        yield None
        return
    from geopix.evaluate.judge import Judge, connect, open_replies

    with ExitStack() as stack:
        replies = open_replies(asked.replies)
        stack.callback(replies.close)
        client = connect(asked.base_url, asked.retries, asked.timeout_s)
        stack.callback(client.close)
        judge = Judge(client, asked.model, replies)
        if meet:
            judge.meet()
        try:
            yield judge
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(
                str(error)
                or f"stopped; {len(replies):,} answers of the judge are kept in {replies.path}, run the "
                "same command again to go on"
            ) from None


def counted(decide: Callable[..., Sequence[Answer]]) -> Callable[[Sequence[Any]], Sequence[Answer]]:
    """A judge's method that shows how far it is."""

    def decided(questions: Sequence[Any]) -> Sequence[Answer]:
        with show.counting("judging", len(questions)) as moved:
            return decide(questions, moved)

    return decided
