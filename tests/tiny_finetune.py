"""A real HTTP server on this machine that takes files and fine-tuning jobs as OpenAI's protocol has it, with faults."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Fault = Callable[["Endpoint", BaseHTTPRequestHandler], bool]


@dataclass
class Endpoint:
    """What the server has, and how it misbehaves.

    Args:
        faults: "POST /files" -> what to do with each of the next questions, in order. None answers as usual, "cut"
            hangs up, "done but cut" does it and hangs up, "500" or "429 some_code" is an error, "html" is no JSON at
            all, and JSON replaces parts of the answer.
        holds: "POST /files" -> True as long as it is done, but not answered.
        lists: Whether files and jobs can be listed.
        states: What a job goes through, one at every look; it stays at the last.
    """

    url: str = ""
    faults: dict[str, list[str | None]] = field(default_factory=dict)
    holds: dict[str, bool] = field(default_factory=dict)
    lists: bool = True
    states: list[dict[str, Any]] = field(default_factory=lambda: [state("running"), state("succeeded", model="ft:new")])
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def calls(self, what: str) -> int:
        """How often something was asked for."""
        return self.seen.count(what)


def state(status: str, model: str | None = None, tokens: int | None = None, error: str = "") -> dict[str, Any]:
    """A state of a job."""
    told = {"code": "x", "message": error, "param": None} if error else None
    return {"status": status, "fine_tuned_model": model, "trained_tokens": tokens, "error": told}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    endpoint: Endpoint

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Lists, jobs and events."""
        self._handle(b"")

    def do_POST(self) -> None:
        """Files, uploads and jobs."""
        self._handle(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._chunks())

    def _chunks(self) -> bytes:
        data = b""
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            data += self.rfile.read(size)
            self.rfile.readline()
            if not size:
                break
        return data

    def _handle(self, body: bytes) -> None:
        end, path = self.endpoint, urlsplit(self.path).path.removeprefix("/v1")
        what = f"{self.command} {re.sub(r'(file|ftjob|upload)-[^/]+', 'ID', path)}"
        end.seen.append(what)
        end.keys.add(str(self.headers.get("Authorization")))
        waiting = end.faults.get(what, [])
        fault = waiting.pop(0) if waiting else None
        if fault == "cut":  # nothing happens, and nobody answers
            self.close_connection = True
            return
        if fault is not None and fault[:3].isdigit():
            self._send({"error": {"message": f"fault {fault}", "code": fault[4:] or None}}, int(fault[:3]))
            return
        if fault == "html":
            self._send("<html>not the endpoint</html>", 200)
            return
        code, answer = self._answer(what, path, body)
        while end.holds.get(what):
            time.sleep(0.02)
        if fault == "done but cut":  # it happens, and nobody answers
            self.close_connection = True
            return
        self._send({**answer, **json.loads(fault)} if fault else answer, code)

    def _answer(self, what: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        end, name = self.endpoint, path.rsplit("/", 1)[-1]
        if what in ("GET /files", "GET /fine_tuning/jobs"):
            if not end.lists:
                return 404, {"error": {"message": "no such list"}}
            made = [self._file(one) for one in end.files] if "files" in what else [self._job(one) for one in end.jobs]
            return 200, self._page(made)
        if what == "POST /files":
            return 200, self._new_file(*self._part(body, "file"))
        if what == "POST /uploads":
            upload, asked = f"upload-{len(end.parts)}", json.loads(body)
            end.parts[upload] = (asked["filename"], b"")
            return 200, {"id": upload, "filename": asked["filename"], "status": "pending"}
        if what == "POST /uploads/ID/parts":
            upload = path.split("/")[2]
            name, data = end.parts[upload]
            end.parts[upload] = (name, data + self._part(body, "data")[1])
            return 200, {"id": f"part-{len(data)}", "upload_id": upload, "object": "upload.part"}
        if what == "POST /uploads/ID/complete":
            upload = path.split("/")[2]
            return 200, {"id": upload, "status": "completed", "file": self._new_file(*end.parts[upload])}
        if what == "POST /fine_tuning/jobs":
            asked = json.loads(body)
            if asked["training_file"] not in end.files:
                return 400, {"error": {"message": "no such file"}}
            job = f"ftjob-{len(end.jobs)}"
            end.jobs[job] = {**asked, "states": list(end.states)}
            return 200, self._job(job)
        if what == "GET /fine_tuning/jobs/ID" and name in end.jobs:
            states = end.jobs[name]["states"]
            end.jobs[name]["states"] = states[1:] or states
            return 200, {**self._job(name), **states[0]}
        if what == "GET /fine_tuning/jobs/ID/events":
            return 200, self._page([{"id": "e", "object": "fine_tuning.job.event", "message": "step 3 of 9"}])
        return 404, {"error": {"message": f"nothing at {path}"}}

    def _new_file(self, name: str, data: bytes) -> dict[str, Any]:
        made = f"file-{len(self.endpoint.files)}"
        self.endpoint.files[made] = (name, data)
        return self._file(made)

    def _file(self, name: str) -> dict[str, Any]:
        filename, data = self.endpoint.files[name]
        told = {"object": "file", "purpose": "fine-tune", "status": "processed", "created_at": 1}
        return {"id": name, "filename": filename, "bytes": len(data), **told}

    def _job(self, name: str) -> dict[str, Any]:
        job = self.endpoint.jobs[name]
        told = {"object": "fine_tuning.job", "created_at": 1, "error": None, "hyperparameters": {}}
        kept = {"id": name, "model": job["model"], "training_file": job["training_file"]}
        return {**told, **kept, **state("queued"), **(job["states"][0] if len(job["states"]) == 1 else {})}

    def _page(self, made: list[dict[str, Any]]) -> dict[str, Any]:
        after = parse_qs(urlsplit(self.path).query).get("after", [""])[0]
        ids = [one["id"] for one in made]
        start = ids.index(after) + 1 if after in ids else 0
        return {"object": "list", "data": made[start : start + 2], "has_more": start + 2 < len(made)}

    def _part(self, body: bytes, wanted: str) -> tuple[str, bytes]:
        found = re.search(r"boundary=(\S+)", self.headers["Content-Type"])
        assert found is not None
        for part in body.split(b"--" + found[1].strip('"').encode()):
            head, _, data = part.partition(b"\r\n\r\n")
            if f'name="{wanted}"'.encode() in head:
                named = re.search(rb'filename="([^"]*)"', head)
                return (named[1].decode() if named else ""), data.removesuffix(b"\r\n")
        raise AssertionError(f"no {wanted} was sent")

    def _send(self, value: Any, code: int) -> None:
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/html" if isinstance(value, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After-Ms", "1")
        with suppress(ConnectionError):  # whoever asked was killed
            self.end_headers()
            self.wfile.write(data)


@contextmanager
def serving() -> Iterator[Endpoint]:
    """An endpoint that answers as long as the block runs."""
    endpoint = Endpoint()
    handler = type("Handler", (_Handler,), {"endpoint": endpoint})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
