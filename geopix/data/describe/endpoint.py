"""Descriptions from any endpoint that speaks OpenAI's protocol (§IV-C: GPT-4o, or a model of one's own)."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from geopix.data.describe import prompt
from geopix.data.describe.money import Purse, expected_tokens
from geopix.data.describe.prompt import Request
from geopix.data.describe.replies import Replies, Reply
from geopix.data.describe.reply import descriptions
from geopix.data.describe.task import StopError, Task, UnansweredError, UnusableError

if TYPE_CHECKING:
    from openai import OpenAI

PATIENCE = 10
"""Questions in a row that may stay without an answer before the endpoint is taken for gone."""


def connect(base_url: str | None, retries: int, timeout_s: float) -> OpenAI:
    """The official client, which backs off and asks again after rate limits, server errors and lost connections.

    Args:
        base_url: Of the endpoint, None for OpenAI's; the key is read from OPENAI_API_KEY.
        retries: How often a request is repeated.
        timeout_s: Seconds that an answer may take.

    Raises:
        StopError: If the client is not installed, or a key is needed and missing.
    """
    try:
        import openai
    except ImportError as error:
        raise StopError(
            "the openai client is not installed; install it with: pip install 'geopix[describe]'"
        ) from error
    key = os.environ.get("OPENAI_API_KEY") or None
    if key is None and base_url is None:
        raise StopError("there is no key; put yours into the environment variable OPENAI_API_KEY, or give --base-url")
    try:
        return openai.OpenAI(api_key=key or "none", base_url=base_url, max_retries=retries, timeout=timeout_s)
    except (openai.OpenAIError, ValueError, TypeError) as error:
        raise StopError(f"no endpoint at {base_url}: {error}") from error


class Endpoint:
    """Asks one question after another; several threads may use it at once.

    Args:
        client: See `connect`.
        model: The model's name there.
        replies: Where answers are kept, and looked up first.
        purse: What may be spent.
    """

    learns = True

    def __init__(self, client: OpenAI, model: str, replies: Replies, purse: Purse) -> None:
        self.name = model
        self._client, self._replies, self._purse = client, replies, purse
        self._turn = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}
        self._unanswered = 0
        self._stopped: StopError | None = None

    def describe(self, task: Task) -> dict[int, tuple[str, ...]]:
        """See `geopix.data.describe.task.Describer`."""
        request = prompt.request(task, self.name)
        with self._turn:
            alone = self._asking.setdefault(request.id, threading.Lock())
        with alone:  # the same picture may be in a set twice, and is asked about once
            reply = self._replies.get(request.id) or self._ask(request, task)
        with self._turn:
            self._asking.pop(request.id, None)
        return read(reply, task)

    def stop(self) -> None:
        """Ask for nothing new; what is being asked is waited for."""
        self._stopped = self._stopped or StopError("stopped")

    def _ask(self, request: Request, task: Task) -> Reply:
        import openai

        if self._stopped is not None:
            raise self._stopped
        with self._purse.reserve(task):
            try:
                body: dict[str, Any] = request.body()
                answer = self._client.chat.completions.create(**body, extra_headers={"Idempotency-Key": request.id})
            except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
                raise self._stop(
                    f"the endpoint refuses: {_told(error)}; check --model, --base-url and the key"
                ) from error
            except openai.RateLimitError as error:
                if error.code == "insufficient_quota":
                    raise self._stop(f"the endpoint wants money: {_told(error)}") from error
                raise self._no_answer("endpoint too busy", error) from error
            except openai.BadRequestError as error:
                raise self._no_answer("endpoint refuses the question", error) from error
            except (openai.OpenAIError, ValueError) as error:  # ValueError: what came was no JSON
                raise self._no_answer("endpoint gives no answer", error) from error
            content, finish, tokens_in, tokens_out = parts(answer)
            if not finish:
                raise self._no_answer("endpoint gives no answer", ValueError("what came is no chat completion"))
            usd = self._purse.pay(tokens_in, tokens_out)
            reply = Reply(request.id, request.key, self.name, content, finish, tokens_in, tokens_out, usd)
            self._replies.add(reply)
        with self._turn:
            self._unanswered = 0
        return reply

    def _stop(self, why: str) -> StopError:
        self._stopped = StopError(why)
        return self._stopped

    def _no_answer(self, reason: str, error: Exception) -> UnusableError | StopError:
        with self._turn:
            self._unanswered += 1
            gone = self._unanswered >= PATIENCE
        if gone:
            return self._stop(
                f"the endpoint left {PATIENCE} questions in a row without an answer, the last time: {_told(error)}; "
                "every answer is kept, so run the same command again to go on"
            )
        return UnansweredError(reason, _told(error))


def parts(answer: Any) -> tuple[str, str, int, int]:
    """Content, reason of the end, tokens in and tokens out of a chat completion; no reason where it is none."""
    try:
        choice = answer.choices[0]
        content, finish = choice.message.content, str(choice.finish_reason)
        if not content and choice.message.refusal:
            content, finish = str(choice.message.refusal), "refusal"
    except (AttributeError, IndexError, TypeError):
        return "", "", 0, 0
    counted = [getattr(getattr(answer, "usage", None), name, 0) for name in ("prompt_tokens", "completion_tokens")]
    tokens_in, tokens_out = (max(count, 0) if isinstance(count, int) else 0 for count in counted)
    return str(content or ""), finish, tokens_in, tokens_out


def read(reply: Reply, task: Task) -> dict[int, tuple[str, ...]]:
    """The descriptions of a reply.

    Raises:
        UnusableError: If there are none that can be used.
    """
    if reply.finish == "refusal":
        raise UnusableError("model declines", reply.content[:200])
    if reply.finish == "length":
        raise UnusableError("answer is cut off or no JSON", "it became too long")
    return {index: (words,) for index, words in descriptions(reply.content, task.wanted).items()}


def estimate_usd(purse: Purse, task: Task) -> float:
    """What a task may cost; 0 where no price is known."""
    return 0.0 if purse.price is None else purse.price.of(*expected_tokens(task))


def _told(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
