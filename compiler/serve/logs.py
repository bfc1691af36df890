"""
`--log-requests`: one line of JSON on standard output for each request, without what is in it.
"""

import os
import select
import threading
import time
from collections import deque
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

INTERVAL: Final = 0.2
"""Seconds that a line waits until it is written."""
MOST: Final = 100_000
"""Lines that wait at a time, if nobody reads them; more are dropped, and counted."""
LENGTH: Final = 200
"""Characters of an address or an identifier that are shown."""
END: Final = 1.0
"""Seconds that the last lines may take to be written."""


class Entry(NamedTuple):
    """
    What is known of a request when it is answered.
    """

    time: float
    client: str
    """Address and port."""
    method: str
    path: str
    """Without the query, in which there may be secrets."""
    status: int
    taken: int
    """Bytes of the request's body."""
    given: int
    """Bytes of the answer's."""
    microseconds: float
    """From the request's head to the answer."""
    model: str
    id: str
    """The request's header X-Request-ID."""


class RequestLog:
    """
    Writes the lines of one worker, from a thread of its own: who does not read them keeps no request waiting.

    Args:
        file: the descriptor that is written to.
    """

    def __init__(self, file: int = 1) -> None:
        self.file = file
        self.dropped = 0
        """Lines for which there was no room."""
        self._entries: deque[Entry] = deque()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="policyc-log", daemon=True)
        self._thread.start()

    def add(self, entry: Entry) -> None:
        """
        Remembers a request until it is written.
        """
        if len(self._entries) < MOST:
            self._entries.append(entry)
        else:
            self.dropped += 1

    def close(self) -> None:
        """
        Writes what is left, as far as somebody reads it.
        """
        self._ended.set()
        self._thread.join(END)

    def _work(self) -> None:
        try:
            while not self._ended.wait(INTERVAL):
                self._write()
            self._write()
        except OSError:  # nobody reads any more: nothing is remembered either
            self._entries = deque(maxlen=0)

    def _write(self) -> None:
        """
        Whole lines at a time, as few bytes as a pipe takes in one piece: workers write to the same one.
        """
        block = bytearray()
        if self.dropped:
            count, self.dropped = self.dropped, 0
            block += msgspec.json.encode({"time": _time(time.time()), "dropped": count}) + b"\n"
        for _ in range(len(self._entries)):
            text = line(self._entries.popleft())
            if len(block) + len(text) > select.PIPE_BUF:
                self._put(block)
                block.clear()
            block += text
        self._put(block)

    def _put(self, block: bytearray) -> None:
        while block:
            del block[: os.write(self.file, block)]


class _Line(msgspec.Struct, omit_defaults=True):
    time: str
    client: str
    method: str
    path: str
    status: int
    bytes_in: int
    bytes_out: int
    microseconds: float
    model: str = ""
    id: str = ""


def line(entry: Entry) -> bytes:
    """
    One line of ASCII, whatever a client has sent.
    """
    when, client, method, path, status, taken, given, spent, model, sent = entry
    names = client.rpartition(":")[0], _plain(method), _plain(path)
    content = _Line(_time(when), *names, status, taken, given, round(spent, 1), _plain(model), sent and _plain(sent))
    return msgspec.json.encode(content) + b"\n"


def _plain(text: str) -> str:
    text = text if len(text) <= LENGTH else f"{text[:LENGTH]}..."
    return text if text.isascii() and text.isprintable() else ascii(text)[1:-1]


def _time(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1e6):06d}Z"


@lru_cache(1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
