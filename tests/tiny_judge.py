"""A judge on localhost that says what it is told to, in time or late, as JSON or not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Bench:
    """What the judge says of a predicted answer, and what was asked of it."""

    says: dict[str, Any]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        bench: Bench = self.server.bench  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with bench.lock:
            bench.bodies.append(body)
        text = body["messages"][0]["content"]
        said = next(answer for words, answer in bench.says.items() if words in text)
        message, finish, status = {"role": "assistant", "content": said, "refusal": None}, "stop", 200
        if said == "slow":
            time.sleep(0.6)
        elif said == "refusal":
            message.update(content=None, refusal="I can't help with that.")
        elif said == "cut":
            message["content"], finish = '{"score": 85, "reason": "because', "length"
        elif isinstance(said, int):
            status = said
        raw = json.dumps(
            {
                "id": "c", "object": "chat.completion", "created": 0, "model": "toy",
                "choices": [{"index": 0, "message": message, "finish_reason": finish}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101},
            }
            if status == 200
            else {"error": {"message": f"fault {status}", "code": None}}
        ).encode()  # fmt: skip
        if said == "html":
            raw = b"<html>Sign in</html>"
        with suppress(ConnectionError):  # nobody waits any more for an answer that is late
            self.send_response(status)
            for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(raw)))):
                self.send_header(name, value)
            self.send_header("retry-after-ms", "5")
            self.end_headers()
            self.wfile.write(raw)


@contextmanager
def serving(says: dict[str, Any]) -> Iterator[tuple[str, Bench]]:
    """An endpoint's address, and what is asked there.

    Args:
        says: Words of a question -> the answer, or a status, or "slow", "refusal", "cut", "html".
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.bench = Bench(says)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", server.bench  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
