"""A place in the words of a description, and the small things that are read there: nouns, sides, spots (§IV-C)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from geopix.data.verify.claims import Order, Reference, Side, Spot
from geopix.data.verify.words import ANYTHING, CENTER, FORMS, GROUPS, MOST, SIDES, SUPERLATIVES


class UnreadableError(ValueError):
    """A description that the grammar can't read, with the word where it stopped."""


@dataclass
class Cursor:
    """Every method takes what it understands and leaves the rest.

    Args:
        words: Of the description.
        nouns: Key of every class word -> key of its singular, and whether it is a plural.
        phrase: Reads a noun phrase that stands here.
        at: The next word.
        heads: The nouns that are being described here, the innermost last.
    """

    words: list[str]
    nouns: Mapping[str, tuple[str, bool]]
    phrase: Callable[[Cursor], Reference]
    at: int = 0
    heads: list[str] = field(default_factory=list)

    def left(self) -> bool:
        """Whether there are words left."""
        return self.at < len(self.words)

    def rest(self) -> str:
        """The next few words, for messages."""
        return " ".join(self.words[self.at : self.at + 4])

    def peek(self, ahead: int = 0) -> str:
        """The next word, or one after it; "" behind the last."""
        place = self.at + ahead
        return self.words[place] if place < len(self.words) else ""

    def take(self, *words: str) -> bool:
        """Whether the next words are these; then they are taken."""
        if tuple(self.words[self.at : self.at + len(words)]) != words:
            return False
        self.at += len(words)
        return True

    def skip(self, words: frozenset[str]) -> None:
        """Pass over any number of these."""
        while self.peek() in words:
            self.at += 1

    def side(self) -> Side:
        """ "left", "upper".

        Raises:
            UnreadableError: If there is none.
        """
        side = SIDES.get(self.peek())
        if side is None:
            raise UnreadableError(f"a side was expected at {self.rest()!r}")
        self.at += 1
        return side

    def counted_from(self) -> Side | None:
        """ "from the left", "counting from the top"."""
        mark = self.at
        self.skip(frozenset({"counted", "counting"}))
        if self.take("from"):
            self.take("the")
            if self.peek() in SIDES:
                return self.side()
        self.at = mark
        return None

    def order(self) -> Order | None:
        """ "leftmost", "largest"."""
        word = self.peek()
        order = MOST.get(word) or SUPERLATIVES.get(word)
        if order is not None:
            self.at += 1
        return order

    def noun(self) -> tuple[str, bool] | None:
        """The longest run of words that is a class, and whether it is a plural; "object" is any."""
        for length in range(min(4, len(self.words) - self.at), 0, -1):
            run = "".join(self.words[self.at : self.at + length])
            if run in self.nouns:
                self.at += length
                return self.nouns[run]
        word = self.peek()
        if word in ("one", "ones") and self.heads:  # "the tank right of the largest one"
            self.at += 1
            return self.heads[-1], word == "ones"
        if word in ANYTHING or (word.endswith("s") and word[:-1] in ANYTHING):
            self.at += 1
            return "", word.endswith("s")
        return None

    def noun_follows(self) -> bool:
        """Whether a class or a group is named right here."""
        mark = self.at
        found = self.noun() is not None or self.peek() in GROUPS
        self.at = mark
        return found

    def spot(self) -> Spot | None:
        """ "upper left corner", "left center", "middle", "top edge", "left".

        Raises:
            UnreadableError: For a corner of which only one side is told.
        """
        column: str = ""
        row: str = ""
        center = False
        start = self.at
        while True:
            word = self.peek()
            side = SIDES.get(word)
            if side in ("left", "right") and not column:
                column = side
            elif side in ("top", "bottom") and not row:
                row = side
            elif word in CENTER and not center:
                center = True
            else:
                break
            self.at += 1
        if self.at == start:
            return None
        if center:
            column, row = column or "center", row or "center"
        form = FORMS.get(self.peek())
        if form is not None and not self.noun_follows():
            self.at += 1
        if form == "corner" and not (column and row):
            raise UnreadableError("a corner has two sides, as in 'upper left corner'")
        return Spot(column, row, form or "part")  # type: ignore[arg-type]  # sides, one of each axis
