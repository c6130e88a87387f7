"""What descriptions cost (§IV-C): prices, an estimate before anything is sent, and a budget that is kept."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from geopix.data.describe import prompt
from geopix.data.describe.task import StopError, Task

PRICES_FROM = "June 2025"
"""When `PRICES` were looked up; --price replaces them."""
PRICES = {
    "gpt-4o": (2.50, 10.00),
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4.1": (2.00, 8.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-nano": (0.10, 0.40),
    "ft:gpt-4o": (3.75, 15.00),
    "ft:gpt-4o-mini": (0.30, 1.20),
    "ft:gpt-4.1": (3.00, 12.00),
    "ft:gpt-4.1-mini": (0.80, 3.20),
}
"""Dollars for a million tokens, in and out, as OpenAI listed them; models tuned to one's own data begin with "ft:"."""
BATCH_DISCOUNT = 0.5


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens."""

    usd_in: float
    usd_out: float

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """What so many tokens cost."""
        return (self.usd_in * tokens_in + self.usd_out * tokens_out) / 1e6


def price_of(model: str, batch: bool = False) -> Price | None:
    """The list price of a model, known by name or by a name that a date or a tuning's own name follows."""
    share = BATCH_DISCOUNT if batch else 1.0
    for name in sorted(PRICES, key=len, reverse=True):
        if model == name or model.startswith((f"{name}-2", f"{name}:")):
            usd_in, usd_out = PRICES[name]
            return Price(share * usd_in, share * usd_out)
    return None


def expected_tokens(task: Task) -> tuple[int, int]:
    """Tokens in and out that a task will take, rather too many than too few."""
    words = math.ceil((len(prompt.text(task)) + 1200) / 3.5)  # 1,200 characters: the role and the schema
    return words + picture_tokens(task.entry.size_hw), 20 + 45 * len(task.wanted)


def picture_tokens(size_hw: tuple[int, int]) -> int:
    """What GPT-4o counts for a picture in high detail: 85, and 170 a tile of 512 px, the shorter side at 768."""
    height, width = size_hw
    scale = min(1.0, prompt.LONGEST_SIDE / max(height, width))
    scale *= min(1.0, 768 / (min(height, width) * scale))
    return 85 + 170 * math.ceil(height * scale / 512) * math.ceil(width * scale / 512)


class Purse:
    """The money of a job; threads share it.

    Args:
        price: Of a million tokens, or None where nobody knows.
        budget_usd: What may be spent in all, earlier runs of the job included; None for any sum.
        spent_usd: What earlier runs spent.
    """

    def __init__(self, price: Price | None, budget_usd: float | None = None, spent_usd: float = 0.0) -> None:
        self.price, self.budget_usd, self.spent_usd = price, budget_usd, spent_usd
        self.reserved_usd = 0.0
        self._turn = threading.Lock()

    @contextmanager
    def reserve(self, task: Task) -> Iterator[None]:
        """Set aside what a task may cost while it is asked; what it did cost is told by `pay`.

        Raises:
            StopError: If there may not be enough.
        """
        expected = self.price.of(*expected_tokens(task)) if self.price is not None else 0.0
        self.hold(expected)
        try:
            yield
        finally:
            self.release(expected)

    def hold(self, usd: float) -> None:
        """Set a sum aside.

        Raises:
            StopError: If there may not be enough.
        """
        with self._turn:
            if self.budget_usd is not None and self.spent_usd + self.reserved_usd + usd > self.budget_usd:
                raise StopError(
                    f"the budget of ${self.budget_usd:,.2f} is used up: ${self.spent_usd:,.4f} spent; every answer is "
                    "kept, so run the same command with a higher --budget to go on"
                )
            self.reserved_usd += usd

    def release(self, usd: float) -> None:
        """Give back what `hold` set aside."""
        with self._turn:
            self.reserved_usd -= usd

    def pay(self, tokens_in: int, tokens_out: int) -> float | None:
        """Book an answer; its price in dollars."""
        if self.price is None:
            return None
        usd = self.price.of(tokens_in, tokens_out)
        with self._turn:
            self.spent_usd += usd
        return usd
