"""A real HTTP server on localhost that speaks OpenAI's protocol, with every fault that a test wants of it."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from geopix.data.describe.prompt import line
from geopix.data.entries import Entry

Answers = dict[int, str]


def objects_of(text: str) -> str:
    """The list of objects in a prompt: what tells images apart here."""
    found = re.search(r"Objects \(.*?\):\n(.*?)\n\n", text, re.DOTALL)
    assert found is not None
    return found[1]


def wanted_of(text: str) -> list[int]:
    """The objects that a prompt asks about."""
    some = re.search(r"Describe the objects ([\d, ]+), each", text)
    if some is None:
        return [int(number) for number in re.findall(r"^(\d+):", objects_of(text), re.MULTILINE)]
    return [int(number) for number in some[1].split(",")]


@dataclass
class Script:
    """What the server knows and how it behaves.

    Args:
        answers: For every image, by `objects_of`, the true descriptions.
        faults: For every image, what the server does at its first, second ... request; then it answers.
        hold_after: Answers after which it lets everybody wait until `let_go`, and then hangs up.
        batch_polls: Looks at a batch before it is ready.
    """

    answers: dict[str, Answers]
    faults: dict[str, list[str]] = field(default_factory=dict)
    hold_after: int | None = None
    batch_polls: int = 1
    let_go: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    busy: int = 0
    busiest: int = 0

    def expect(self, entries: Sequence[Entry], answers: Sequence[Answers]) -> None:
        for entry, mine in zip(entries, answers, strict=True):
            self.answers["\n".join(f"{i}: {line(one)}" for i, one in enumerate(entry.objects))] = mine

    def completion(self, text: str, fault: str = "") -> dict[str, Any]:
        """A chat completion that describes what is wanted, faulty or not."""
        right = self.answers[objects_of(text)]
        wanted = wanted_of(text)
        said = {index: right[index] for index in wanted}
        if fault == "foreign":
            said = {index + 50: words for index, words in said.items()}
        elif fault == "missing":
            said.pop(wanted[-1])
        elif fault == "swapped":
            said = dict(zip(said, reversed(said.values()), strict=True))
        elif fault == "ambiguous":
            said[wanted[0]] = "the object in the image"
        elif fault == "tokens":
            said[wanted[0]] += " [SEG0]<p>"
        elif fault == "control":
            said[wanted[0]] = said[wanted[0]].replace(" ", "\x1b[2J ", 1)
        items = [{"index": i, "arrangement": "isolated", "description": words} for i, words in said.items()]
        if fault == "twice":
            items.append(items[0])
        content = json.dumps({"descriptions": items})
        content = {
            "cut": content[: len(content) // 2],
            "length": content,
            "deep": "[" * 100_000,
            "prose": "I would rather not.",
            "fenced": f"```json\n{content}\n```",
        }.get(fault, content)
        message = {"role": "assistant", "content": content, "refusal": None}
        if fault == "refusal":
            message = {"role": "assistant", "content": None, "refusal": "No pictures of harbors."}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": "toy",
            "choices": [{"index": 0, "message": message, "finish_reason": "length" if fault == "length" else "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
        }


class Handler(BaseHTTPRequestHandler):
    """One request; the script belongs to the server."""

    protocol_version = "HTTP/1.1"

    @property
    def script(self) -> Script:
        return self.server.script  # type: ignore[attr-defined,no-any-return]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def reply(
        self, status: int, content: Any, headers: dict[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(raw)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/chat/completions":
            self.chat(json.loads(raw))
        elif self.path == "/v1/files":
            lines = [part for part in raw.split(b"\r\n") if part.startswith(b'{"custom_id"')]
            name = f"file-{len(self.script.files)}"
            self.script.files[name] = lines[0]
            self.reply(
                200,
                {
                    "id": name,
                    "object": "file",
                    "bytes": 1,
                    "created_at": 0,
                    "filename": "f",
                    "purpose": "batch",
                    "status": "processed",
                },
            )
        elif self.path == "/v1/batches":
            told = json.loads(raw)
            name = f"batch-{len(self.script.batches)}"
            self.script.batches[name] = {
                "id": name, "object": "batch", "endpoint": told["endpoint"], "input_file_id": told["input_file_id"],
                "completion_window": "24h", "status": "in_progress", "created_at": 0, "metadata": told["metadata"],
                "polls": 0,
            }  # fmt: skip
            self.reply(200, self.script.batches[name])

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].split("/")
        if parts[2] == "files":
            self.reply(200, self.script.files[parts[3]], kind="application/octet-stream")
        elif len(parts) == 3:
            listed = list(self.script.batches.values())
            self.reply(200, {"object": "list", "data": listed, "has_more": False})
        else:
            batch = self.script.batches[parts[3]]
            batch["polls"] += 1
            if batch["polls"] > self.script.batch_polls and batch["status"] == "in_progress":
                self.run(batch)
            self.reply(200, batch)

    def run(self, batch: dict[str, Any]) -> None:
        """Answer all questions of a batch, out of order, the faults of the script included."""
        results = []
        for raw in reversed(self.script.files[batch["input_file_id"]].splitlines()):
            question = json.loads(raw)
            text = question["body"]["messages"][1]["content"][0]["text"]
            self.script.asked.append(question["custom_id"])
            waiting = self.script.faults.get(objects_of(text), [])
            fault = waiting.pop(0) if waiting else ""
            if fault == "lost":
                continue
            body = self.script.completion(text, fault)
            self.script.answered.append(question["custom_id"])
            results.append(
                {
                    "id": "r",
                    "custom_id": question["custom_id"],
                    "response": {"status_code": 200, "body": body},
                    "error": None,
                }
            )
        results.append(
            {"id": "r", "custom_id": "somebody else's", "response": {"status_code": 200, "body": {}}, "error": None}
        )
        name = f"{batch['id']}-out"
        self.script.files[name] = b"".join(json.dumps(one).encode() + b"\n" for one in results) + b'{"cut": '
        batch.update(status="completed", output_file_id=name)

    def chat(self, body: dict[str, Any]) -> None:
        script, request_id = self.script, self.headers["Idempotency-Key"]
        text = body["messages"][1]["content"][0]["text"]
        with script.lock:
            script.asked.append(request_id)
            script.texts.append(text)
            script.bodies.append(body)
            script.busy += 1
            script.busiest = max(script.busiest, script.busy)
            waiting = script.faults.get(objects_of(text), [])
            fault = waiting.pop(0) if waiting else ""
            held = script.hold_after is not None and len(script.answered) >= script.hold_after
            if not held and fault not in ("429", "500", "quota", "hang up", "cut body", "html", "401", "400"):
                script.answered.append(request_id)
        try:
            if held:
                script.let_go.wait(60)
                self.close_connection = True
            else:
                self.answer(text, fault)
        finally:
            with script.lock:
                script.busy -= 1

    def answer(self, text: str, fault: str) -> None:
        if fault in ("429", "500", "401", "400", "quota"):
            status = 429 if fault == "quota" else int(fault)
            error = {"message": f"fault {fault}", "code": "insufficient_quota" if fault == "quota" else None}
            headers = {"retry-after-ms": "5", **({"x-should-retry": "false"} if fault == "quota" else {})}
            self.reply(status, {"error": error}, headers)
        elif fault == "hang up":
            self.close_connection = True
        elif fault == "cut body":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"id": "chatcmpl-1", "choices": [')
            self.close_connection = True
        elif fault == "html":
            self.reply(200, b"<html>Sign in</html>", kind="text/html")
        else:
            if fault == "slow":
                time.sleep(0.4)
            elif fault == "too slow":
                time.sleep(3.5)
            self.reply(200, self.script.completion(text, fault))


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """The base URL of a server that follows the script."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.script = script  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        script.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()
