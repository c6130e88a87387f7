"""Descriptions through the batch API of OpenAI's protocol (§IV-C): half the price, an answer within a day.

Questions are collected in files, the files are sent, and their answers are fetched when they are ready. A journal
beside the answers says what was sent, so that a job that was killed waits for its batches and sends none twice.
"""

from __future__ import annotations

import io
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from geopix.data.describe import prompt
from geopix.data.describe.endpoint import read
from geopix.data.describe.money import Purse, expected_tokens
from geopix.data.describe.replies import Replies, Reply
from geopix.data.describe.task import PostponedError, StopError, Task, UnansweredError

if TYPE_CHECKING:
    from openai import OpenAI

MOST_QUESTIONS = 2_000
"""Questions of one file; the protocol allows 50,000."""
MOST_BYTES = 50_000_000
"""Bytes of one file; the protocol allows 200 MB."""
_OVER = ("completed", "failed", "expired", "cancelled")


class Batch:
    """Collects questions until `finish` sends what is left and waits for all of it.

    Args:
        client: See `geopix.data.describe.endpoint.connect`.
        model: The model's name there.
        replies: Where answers are kept.
        purse: What may be spent.
        pause_s: Seconds between two looks at batches that are not ready.
        watch: Told how many questions are answered, and of how many.
    """

    learns = True

    def __init__(
        self,
        client: OpenAI,
        model: str,
        replies: Replies,
        purse: Purse,
        pause_s: float = 30.0,
        watch: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.name = model
        self._client, self._replies, self._purse = client, replies, purse
        self._pause_s, self._watch = pause_s, watch
        self._lines: list[bytes] = []
        self._bytes = 0
        self._ids: dict[str, str] = {}  # of the questions that are collected: request -> entry key
        self._held_usd = self._unsent_usd = 0.0
        self._closed = False
        self._journal = replies.path.with_name(replies.path.name + ".batches")
        self._sent = self._adopted()  # batch -> request -> entry key

    def describe(self, task: Task) -> dict[int, tuple[str, ...]]:
        """See `geopix.data.describe.task.Describer`."""
        request = prompt.request(task, self.name)
        reply = self._replies.get(request.id)
        if reply is not None:
            return read(reply, task)
        if self._closed:
            raise UnansweredError("batch holds no answer")
        if request.id not in self._ids and not any(request.id in asked for asked in self._sent.values()):
            if self._purse.price is not None:
                usd = self._purse.price.of(*expected_tokens(task))
                self._purse.hold(usd)
                self._held_usd += usd
                self._unsent_usd += usd
            question = {
                "custom_id": request.id,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": request.body(),
            }
            self._lines.append(json.dumps(question).encode("ascii") + b"\n")
            self._ids[request.id] = request.key
            self._bytes += len(self._lines[-1])
            if len(self._lines) >= MOST_QUESTIONS or self._bytes >= MOST_BYTES:
                self._send()
        raise PostponedError

    def finish(self) -> bool:
        """Send what is collected and wait until every batch is over; False where there was nothing to wait for.

        Raises:
            StopError: If the endpoint fails.
        """
        if self._lines:
            self._send()
        if not self._sent:
            return False
        total, done = sum(map(len, self._sent.values())), 0
        while self._sent:
            for name in list(self._sent):
                batch = self._call(partial(self._client.batches.retrieve, name))
                if batch.status in _OVER:
                    done += len(self._sent[name])
                    self._fetch(batch, self._sent[name])
                    self._note({"over": name})
                    del self._sent[name]
                    self._watch(done, total)
            if self._sent:
                time.sleep(self._pause_s)
        self._purse.release(self._held_usd)
        self._held_usd = 0.0
        return True

    def close(self) -> None:
        """Send nothing any more; what has no answer by now has none."""
        self._closed = True

    def stop(self) -> None:
        """Batches that were sent go on without us; the journal knows them."""

    def _send(self) -> None:
        name, asked = uuid.uuid4().hex, dict(self._ids)
        self._note({"sending": name, "asked": asked, "usd": self._unsent_usd})
        content = io.BytesIO(b"".join(self._lines))
        file = self._call(lambda: self._client.files.create(file=(f"{name}.jsonl", content), purpose="batch"))
        batch = self._call(
            lambda: self._client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"geopix": name},
            )
        )
        self._note({"sent": name, "batch": batch.id})
        self._sent[batch.id] = asked
        self._lines, self._bytes, self._ids, self._unsent_usd = [], 0, {}, 0.0

    def _fetch(self, batch: Any, asked: dict[str, str]) -> None:
        """Keep the answers of a batch that is over; questions without one are asked again in the next."""
        if not batch.output_file_id:
            return
        answers = self._call(lambda: self._client.files.content(batch.output_file_id))
        for line in answers.iter_lines():
            try:
                told = json.loads(line)
                request_id, body = told["custom_id"], told["response"]["body"]
                choice = body["choices"][0]
                content, finish = str(choice["message"]["content"] or ""), str(choice.get("finish_reason"))
                usage = body.get("usage") or {}
                tokens = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
            except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
                continue
            if request_id in asked and self._replies.get(request_id) is None:
                usd = self._purse.pay(*tokens)
                self._replies.add(Reply(request_id, asked[request_id], self.name, content, finish, *tokens, usd))

    def _adopted(self) -> dict[str, dict[str, str]]:
        """The batches that an earlier run sent and did not see the end of."""
        sending: dict[str, tuple[dict[str, str], float]] = {}
        sent: dict[str, tuple[dict[str, str], float]] = {}
        for event in self._events():
            if "sending" in event:
                sending[event["sending"]] = event["asked"], float(event["usd"])
            elif "sent" in event:
                sent[event["batch"]] = sending.pop(event["sent"], ({}, 0.0))
            else:
                sent.pop(event["over"], None)
        if sending:  # killed between sending and noting what it is called: the endpoint knows
            for batch in self._call(lambda: self._client.batches.list(limit=100)):
                name = (batch.metadata or {}).get("geopix")
                if name in sending:
                    self._note({"sent": name, "batch": batch.id})
                    sent[batch.id] = sending.pop(name)
        self._held_usd = sum(usd for _, usd in sent.values())
        self._purse.reserved_usd += self._held_usd  # promised before; not for this run to refuse
        return {name: asked for name, (asked, _) in sent.items()}

    def _events(self) -> Iterator[dict[str, Any]]:
        if not self._journal.exists():
            return
        whole = self._journal.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]  # what a crash cut short was not done yet
        os.truncate(self._journal, len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                event = json.loads(line)
                if not isinstance(event, dict) or not event.keys() & {"sending", "sent", "over"}:
                    raise ValueError("no event")
            except ValueError as error:
                raise StopError(f"{self._journal} line {number} is no note about a batch ({error})") from error
            yield event

    def _note(self, event: dict[str, Any]) -> None:
        with self._journal.open("ab") as file:
            file.write(json.dumps(event).encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _call(ask: Callable[[], Any]) -> Any:
        import openai

        try:
            return ask()
        except (openai.OpenAIError, ValueError) as error:
            told = " ".join(str(error).split())[:300]
            raise StopError(f"the endpoint's batch API fails: {told}; run the same command again to go on") from error
