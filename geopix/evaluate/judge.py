"""A language model as the judge of words (§V-C, §V-D: "GPT-4"): asked only on request, kept on disk, never guessed for.

Every question has a name with a version; the hash of its words goes into the footer of a table, because another
wording is another protocol. What a judge does not answer, declines, or answers in prose stays "not judged".
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from geopix.data.describe import endpoint
from geopix.data.describe.money import Price, price_of
from geopix.data.describe.replies import Replies, Reply
from geopix.data.describe.task import StopError
from geopix.evaluate.forms import CLAIR, MATCH, Form

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")

PATIENCE = 10
"""Questions in a row that may stay without an answer before the judge is taken for gone."""


class JudgeError(ValueError):
    """A judge that can't be asked at all."""


@dataclass
class Tally:
    """What a judge was asked, and what it cost; all of it belongs beside the numbers.

    Args:
        asked: Answers that came over the wire.
        kept: Answers that were on the disk.
        not_judged: For every reason how many questions stayed open.
        tokens_in, tokens_out: Of what came over the wire.
        usd: What it cost, None where no price is known.
        seconds: Spent waiting.
    """

    asked: int = 0
    kept: int = 0
    not_judged: Counter[str] = field(default_factory=Counter)
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        cost = "price unknown" if self.usd is None else f"${self.usd:,.4f}"
        told = f"{self.asked:,} answers asked for ({self.tokens_in:,} tokens in, {self.tokens_out:,} out, {cost}, "
        told += f"{self.seconds:,.0f} s), {self.kept:,} kept from before"
        if self.not_judged:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.not_judged.most_common())
            told += f"; not judged: {reasons}"
        return told


class Judge:
    """A model behind OpenAI's protocol, asked at temperature 0; equal questions are asked once, ever.

    Args:
        client: See `connect`.
        model: The model's name there.
        replies: Where answers are kept, and looked up first.
        price: Of a million tokens; by default OpenAI's list, where it has the model.
        concurrency: Questions at a time.
    """

    def __init__(
        self, client: OpenAI, model: str, replies: Replies, price: Price | None = None, concurrency: int = 8
    ) -> None:
        self.model, self.tally = model, Tally()
        self._client, self._replies, self._concurrency = client, replies, concurrency
        self._price = price or price_of(model)
        self._turn = threading.Lock()
        self._unanswered, self._met = 0, False
        self._gone = ""

    def meet(self) -> None:
        """Ask one question that counts nowhere, so that a wrong key, name or address is told before long work.

        Raises:
            JudgeError: If the endpoint takes nothing from us, or gives no answer.
            OSError: If the answer can't be kept.
        """
        text = MATCH.template.format(question="Is there a road?", true="yes", predicted="there is one")
        got = self._fetch(MATCH, text, request_id(self.model, MATCH, text))  # kept or not: the key may have gone
        if isinstance(got, str):
            raise JudgeError(f"the judge gives no answer ({got}); check --base-url and the network")
        self.tally, self._unanswered = Tally(), 0

    def footer(self, form: Form[Any]) -> str:
        """Who judges by which words; another judge or form is another protocol."""
        return f"{self.model} at temperature 0, asked by {form.footer}"

    def ask(
        self, form: Form[T], blanks: Sequence[dict[str, str]], progress: Callable[[int], None] = lambda done: None
    ) -> list[T | None]:
        """An answer for every set of words that fill the form's blanks; None where it stays open.

        Args:
            form: `MATCH` or `CLAIR`.
            blanks: One set a question.
            progress: Told how many questions are done.

        Raises:
            JudgeError: If the endpoint takes nothing from us: a wrong key, model or address, or no money. Once it has
                answered, all that it takes no more stays open instead.
            OSError: If answers can't be kept.
        """
        started = time.perf_counter()
        texts = [form.template.format(**blank) for blank in blanks]
        told: dict[str, T | str] = {}  # the answer, or why there is none
        different = list(dict.fromkeys(texts))
        pool = ThreadPoolExecutor(self._concurrency)
        try:
            for done, (text, answer) in enumerate(
                zip(different, pool.map(lambda text: self._one(form, text), different), strict=True), start=1
            ):
                told[text] = answer
                progress(round(done * len(texts) / len(different)))
        finally:
            self._gone = self._gone or "stopped"  # should an error or Ctrl-C end this, what waits is not asked
            pool.shutdown(cancel_futures=True)
            self._gone = "" if self._gone == "stopped" else self._gone
            self.tally.seconds += time.perf_counter() - started
        self.tally.not_judged.update(answer for text in texts if isinstance(answer := told[text], str))
        return [None if isinstance(answer := told[text], str) else answer for text in texts]

    def match(
        self, answers: Sequence[tuple[str, str, str]], progress: Callable[[int], None] = lambda done: None
    ) -> list[bool | None]:
        """`geopix.evaluate.vqa.Decide`: (question, true answer, predicted answer) each."""
        blanks = [{"question": asked, "true": true, "predicted": said} for asked, true, said in answers]
        return self.ask(MATCH, blanks, progress)

    def clair(
        self,
        captions: Sequence[tuple[Sequence[str], Sequence[str]]],
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[float | None]:
        """`geopix.evaluate.captions.Decide`: (candidate captions, reference captions) each; CLAIR in 0..1."""
        blanks = [{"candidates": _listed(said), "references": _listed(true)} for said, true in captions]
        return self.ask(CLAIR, blanks, progress)

    def _one(self, form: Form[T], text: str) -> T | str:
        identity = request_id(self.model, form, text)
        reply = self._replies.get(identity)
        if reply is not None:
            with self._turn:
                self.tally.kept += 1
        else:
            got = self._fetch(form, text, identity)
            if isinstance(got, str):
                return got
            reply = got
        if reply.finish == "refusal":
            return "declined"
        answer = form.read(reply.content)
        if answer is None:
            return "cut off" if reply.finish == "length" else "answered in prose" if reply.content else "answered empty"
        return answer

    def _fetch(self, form: Form[T], text: str, identity: str) -> Reply | str:
        import openai

        if self._gone:
            return self._gone
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "temperature": 0,
            "max_tokens": form.max_tokens,
        }
        try:
            answer = self._client.chat.completions.create(**body, extra_headers={"Idempotency-Key": identity})
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            return self._refused(f"the judge refuses: {_told(error)}; check its name, address and key", error)
        except openai.APITimeoutError:
            return self._unheard("timed out")
        except openai.RateLimitError as error:
            if error.code == "insufficient_quota":
                return self._refused(f"the judge wants money: {_told(error)}", error)
            return self._unheard("too busy")
        except openai.BadRequestError:
            return self._unheard("question refused")
        except (openai.OpenAIError, ValueError) as error:  # ValueError: what came was no JSON
            if getattr(error, "status_code", None) == 402:  # how some endpoints ask for money
                return self._refused(f"the judge wants money: {_told(error)}", error)
            return self._unheard("no answer")
        content, finish, tokens_in, tokens_out = endpoint.parts(answer)
        if not finish:
            return self._unheard("no answer")
        usd = None if self._price is None else self._price.of(tokens_in, tokens_out)
        reply = Reply(identity, form.name, self.model, content, finish, tokens_in, tokens_out, usd)
        self._replies.add(reply)
        with self._turn:
            self._unanswered, self._met = 0, True
            self.tally.asked += 1
            self.tally.tokens_in += tokens_in
            self.tally.tokens_out += tokens_out
            self.tally.usd = None if usd is None or self.tally.usd is None else self.tally.usd + usd
        return reply

    def _refused(self, why: str, error: Exception) -> str:
        """A reason for all that is left, where it has answered before: hours of answers are not thrown away."""
        with self._turn:
            if not self._met:
                raise JudgeError(why) from error
            self._gone = f"not asked any more ({why})"
        return self._gone

    def _unheard(self, reason: str) -> str:
        with self._turn:
            self._unanswered += 1
            if self._unanswered >= PATIENCE:
                self._gone = f"not asked, because {PATIENCE} in a row had no answer"
        return reason


def connect(base_url: str | None, retries: int = 3, timeout_s: float = 60.0) -> OpenAI:
    """The official client; see `geopix.data.describe.endpoint.connect`.

    Raises:
        JudgeError: If it is not installed, or a key is needed and missing.
    """
    try:
        return endpoint.connect(base_url, retries, timeout_s)
    except StopError as error:
        raise JudgeError(f"no judge: {error}") from error


def open_replies(path: Path) -> Replies:
    """The file of a judge's answers, made where there is none; close it after.

    Raises:
        JudgeError: If it holds something else, or another process writes to it.
        OSError: If it can't be read or written.
    """
    try:
        return Replies(path)
    except StopError as error:
        raise JudgeError(f"the judge's answers can't be kept: {error}") from error


def request_id(model: str, form: Form[Any], text: str) -> str:
    """The same for the same model, form and words, and for nothing else."""
    return hashlib.sha256(json.dumps([model, form.sha256, text]).encode()).hexdigest()


def _listed(captions: Sequence[str]) -> str:
    return "".join(f"- {' '.join(caption.split())}\n" for caption in captions)


def _told(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
