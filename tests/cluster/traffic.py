"""Requests, and constant load that accounts for each: so many a second, on connections of their own, none retried."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

FLOWER = {"x": [[5.1, 3.5, 1.4, 0.2]]}


def ask(url: str, body: object = None, timeout: float = 10.0) -> tuple[int, object]:
    """One request: POST of JSON, or GET without a body. Returns the status and the JSON answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        content = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", parts.path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, text.decode(errors="replace")


def ask_grpc(address: str, model: str, *inside: str) -> Any:
    """What grpcio's client prints that asks for the species of the flower; `inside` is a command that runs it."""
    command = [*inside, sys.executable, Path(__file__).parent / "grpc_client.py", address, model]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def answers(url: str) -> bool:
    """Whether a prediction succeeds now; a port that nobody listens on yet is no error."""
    try:
        return ask(f"{url}/predict", FLOWER)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


@dataclass
class Load:
    """A context in which requests are sent to nodes on this machine; ends by itself after `most` of them."""

    url: str
    rate: float = 40.0
    most: int = 12000
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(64)
        self._clock = threading.Thread(target=self._send, daemon=True)
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._clock.join()
        self._pool.shutdown(wait=True)

    def _send(self) -> None:
        started = time.monotonic()
        while not self._stop.is_set() and self.sent < self.most:
            self.sent += 1
            self._pool.submit(self._one)
            self._stop.wait(max(0.0, started + self.sent / self.rate - time.monotonic()))

    def _one(self) -> None:
        try:
            status, answer = ask(f"{self.url}/predict", FLOWER)
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
        else:
            if status != 200:
                self.failures.append(f"{status}: {answer}")
