"""
A server for tests: started, asked, stopped.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Running:
    """
    A server that answers.

    Attributes:
        process: the master.
        started: what it said when it began to answer.
        log: what it prints on standard error.
    """

    process: subprocess.Popen
    started: dict[str, Any]
    log: Path

    @property
    def url(self) -> str:
        return self.started["url"]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def workers(self) -> list[int]:
        """
        The processes that answer.
        """
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def connect(self, timeout: float = 10) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "compiler.cli", "serve", *map(str, arguments)]


@contextmanager
def serving(tmp_path: Path, *arguments: object) -> Iterator[Running]:
    """
    `policyc serve` with these arguments at a free port, until the block ends.

    Args:
        tmp_path: where its log goes.
        arguments: of the command.
    """
    log = tmp_path / "server.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command(*arguments, "--port", 0, "--json"), stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield Running(process, json.loads(line), log)
    finally:
        # The whole session: workers too, where a test has broken the master.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def eventually(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """
    Waits until something holds; a machine that is busy may take its time.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def body(*numbers: float) -> bytes:
    """
    A request's JSON for an observation that begins with these numbers.
    """
    return json.dumps({"observation": [*numbers, *[0.0] * (4 - len(numbers))]}).encode()


def post(content: bytes, path: str = "/predict", *headers: str) -> bytes:
    """
    A request as it goes over the wire.
    """
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Stream:
    """
    Answers as they come from a connection.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.file = connection, connection.makefile("rb")

    def send(self, content: bytes) -> None:
        self.connection.sendall(content)

    def ask(self, content: bytes) -> Answer:
        self.send(content)
        answer = self.next()
        assert answer is not None, "the connection ended without an answer"
        return answer

    def next(self) -> Answer | None:
        """
        The next answer; None if the connection ends before it begins.
        """
        line = self.file.readline()
        if not line:
            return None
        headers = {}
        while (header := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Answer(int(line.split()[1]), headers, self.file.read(int(headers.get("content-length", 0))))

    def close(self) -> None:
        self.file.close()
        self.connection.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
