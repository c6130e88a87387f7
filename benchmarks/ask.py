"""Look once, ask many (Fig. 1): what a question costs, and what it would cost without the shortcuts.

    python benchmarks/ask.py [--model nano] [--image examples/airport.jpg] [--rounds 5] [--json]

Every variant is made to say the same words, so the times don't depend on what the weights have learned. A round times
every variant once, back to front in every other round; numbers are medians over rounds, ratios too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geopix import checkpoint, geo
from geopix.assistant import Assistant
from geopix.dialogue import Dialogue
from geopix.manners import Manners
from geopix.records import Answer, Image, Turn

FIRST = Turn(
    "What does the image show?", "The image shows an airport with three airplanes beside a terminal.", "caption"
)
SECOND = Turn(
    "Segment the leftmost airplane and the largest airplane.",
    "<p> the leftmost airplane[SEG], <p> the largest airplane[SEG].",
    "segment",
    (0, 1),
)
"""Two targets, the second question of a conversation: the one that ratios are about."""
TITLES = {
    "reread": "against re-encoding the image and re-reading the conversation each turn",
    "uncached": "against the same without any cache: everything re-read for each token",
    "one_by_one": "against segmentation tokens one by one",
}


class Scripted(Assistant):
    """An assistant that does all the work of choosing its words, then says those of a script."""

    script: list[int]
    spoke_at: list[float]

    def say(self, answer: Turn) -> None:
        """Put the words of an answer into the script."""
        self.script, self.spoke_at = spoken_ids(self.dialogue, answer), []

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.manners.next = self._next  # type: ignore[method-assign]

    def _next(self, logits: Tensor) -> int:
        Manners.next(self.manners, logits)
        self.spoke_at.append(time.perf_counter())
        token = self.script[0]
        del self.script[: len(self.dialogue.group_ids) if token == self.dialogue.group_ids[0] else 1]
        return token

    def tell(self, turn: Turn) -> Answer:
        """Ask a turn's question and have its answer said."""
        self.say(turn)
        return self.ask(turn.question)

    def tell_again(self, image: Image) -> Answer:
        """The second turn of somebody who keeps nothing: look again, read the whole conversation again."""
        self.set_image(image)
        self.say(SECOND)
        ids = self.dialogue.question(FIRST.question, first=True) + spoken_ids(self.dialogue, FIRST)
        ids += self.dialogue.question(SECOND.question, first=False)
        assert self._seen is not None
        assert self._box is not None
        *_, answer = self._answer(ids, self.dialogue.draft(SECOND.question), self._seen, self._box)
        assert isinstance(answer, Answer)
        return answer


class Uncached(Scripted):
    """An assistant that reads everything again for each of its tokens."""

    def _read(self, ids: list[int], image_tokens: Tensor | None = None) -> Tensor:
        if image_tokens is not None:
            self.read: list[int] = []
            self.image_tokens = image_tokens
        self.read += ids
        everything = torch.tensor([self.read], device=self.model.device)
        hidden: Tensor = self.model.language(self.model.language.embed(everything, self.image_tokens))
        return hidden[0, -len(ids) :]

    def _generate(self, ids: list[int], draft: list[int], seen: Any, said: Any) -> Any:
        self.reset()  # the conversation is in ``ids``, whole
        return super()._generate(ids, [], seen, said)


def spoken_ids(dialogue: Dialogue, turn: Turn) -> list[int]:
    """The tokens of a turn's answer, its end included."""
    encoded = dialogue.encode([turn])
    return [token for token, said in zip(encoded.ids, encoded.answers, strict=True) if said]


def measure(model: str, image: Image, rounds: int, untrained: bool) -> dict[str, Any]:
    """Time everything; see the module's docstring.

    Raises:
        geopix.checkpoint.CheckpointError: If the model can't be loaded.
    """
    made = checkpoint.fresh_nano() if untrained else checkpoint.load(model)
    network, dialogue = made
    network.train(False)
    ours, slow = Scripted(network, dialogue, model), Scripted(network, dialogue, model, group_at_once=False)
    uncached = Uncached(network, dialogue, model, look_ahead=False)
    seconds: dict[str, list[float]] = {}
    speeds: list[float] = []

    def second(guide: Scripted, name: str) -> None:
        guide.set_image(image)
        guide.tell(FIRST)
        clock(name, lambda: guide.tell(SECOND))

    def clock(name: str, turn: Callable[[], Answer]) -> None:
        started = time.perf_counter()
        answer = turn()
        seconds.setdefault(name, []).append(time.perf_counter() - started)
        assert len(answer.instances) == (0 if name == "first" else 2)

    def first() -> Answer:
        ours.set_image(image)
        answer = ours.tell(FIRST)
        speeds.append((len(ours.spoke_at) - 1) / (ours.spoke_at[-1] - ours.spoke_at[0]))
        return answer

    variants: list[Callable[[], None]] = [
        lambda: clock("first", first),
        lambda: second(ours, "second"),
        lambda: second(slow, "one_by_one"),
        lambda: clock("reread", lambda: ours.tell_again(image)),
        lambda: clock("uncached", lambda: uncached.tell_again(image)),
    ]
    for variant in variants:  # the first pass of each pays for allocations that later ones reuse
        variant()
    seconds.clear()
    speeds.clear()
    for turn in range(rounds):
        for variant in variants if turn % 2 == 0 else variants[::-1]:
            variant()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "first_question_s": statistics.median(seconds["first"]),
        "second_question_s": statistics.median(seconds["second"]),
        "tokens_per_s": statistics.median(speeds),
        "peak_memory_mb": peak / (1e6 if sys.platform == "darwin" else 1e3),
        "ratios": {
            name: statistics.median(other / own for other, own in zip(seconds[name], seconds["second"], strict=True))
            for name in TITLES
        },
        "second_question_answer_tokens": len(spoken_ids(dialogue, SECOND)),
        "rounds": rounds,
        "model": "nano, untrained" if untrained else model,
        "dtype": str(network.dtype).removeprefix("torch."),
        "device": network.device.type,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }


def table(found: dict[str, Any], command: str) -> str:
    """The numbers for people."""
    rows = [
        ("first question about an image (looking included)", f"{found['first_question_s']:.2f} s"),
        ("second question, two targets", f"{found['second_question_s']:.2f} s"),
        ("tokens while speaking", f"{found['tokens_per_s']:.1f} a second"),
        ("peak memory", f"{found['peak_memory_mb']:,.0f} MB"),
        *((f"  {title}", f"{found['ratios'][name]:.2f} x") for name, title in TITLES.items()),
    ]
    rows.insert(4, ("second question:", ""))
    width = max(len(name) for name, _ in rows)
    about = (
        f"{found['model']}, {found['dtype']} on {found['device']}, {found['threads']} threads of {found['machine']} "
        f"(load {found['load_average']:.1f}); medians of {found['rounds']} rounds; the same scripted words for all"
    )
    return "\n".join([f"$ {command}", about, *(f"{name:<{width}}  {value:>14}".rstrip() for name, value in rows)])


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="nano", help="nano or a folder")
    parser.add_argument("--untrained", action="store_true", help="nano with fresh weights: its times, not its answers")
    parser.add_argument("--image", type=Path, default=Path(__file__).parents[1] / "examples" / "airport.jpg")
    parser.add_argument("--rounds", type=int, default=5, help="at least 1")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    try:
        image, _ = geo.read(options.image)
        found = measure(options.model, image, options.rounds, options.untrained)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    command = f"python benchmarks/ask.py {shlex.join(sys.argv[1:])}".rstrip()
    print(json.dumps({"command": command, **found}, indent=2) if options.json else table(found, command))


if __name__ == "__main__":
    main()
