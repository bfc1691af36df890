"""
States that the server keeps for its clients, each under the id of a session.

They stand in an SQLite file that all workers share: whichever of them is asked knows the session, and a worker that
dies takes none with it.
"""

import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from compiler.serve.answers import RequestError
from compiler.serve.requests import ABSENT
from compiler.serve.states import Arrays, from_token, packed, to_token, unpacked

NEW: Final = "new"
"""What a client sends as the session's id to begin one."""

log = logging.getLogger("policyc.serve")

_TABLE = """
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, state BLOB, version INTEGER, touched REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_time ON sessions (touched);
"""


class Sessions:
    """
    The sessions of a server.

    Args:
        path: of the file; it is made when the first session begins.
        expiry: seconds after which a session that nobody asks is forgotten.
        most: how many there may be at a time.
    """

    def __init__(self, path: Path, expiry: float, most: int) -> None:
        self.path, self.expiry, self.most = path, expiry, most
        self._connection: sqlite3.Connection | None = None
        self._opened = (0, 0)
        """By which process, and which file: its inode."""
        self._failing = False

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        """
        The file, open.

        Raises:
            RequestError: 503, if it can't be read or written, as on a full disk.
        """
        try:
            yield self._connected()
            self._failing = False
        except (sqlite3.Error, OSError) as error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if not self._failing:
                log.error("sessions can't be kept in %s: %s", self.path.parent, error)
                self._failing = True
            message = "sessions can't be kept at the moment: ask again later, or send `state` instead"
            raise RequestError(503, message, "$.session", [("retry-after", "10")]) from None

    def _connected(self) -> sqlite3.Connection:
        # A connection is not carried over a fork; and who cleans /tmp may take the file away.
        there = self.path.stat().st_ino if self.path.exists() else 0
        if self._connection is None or self._opened != (os.getpid(), there):
            self._connection = sqlite3.connect(self.path, isolation_level=None, timeout=5)
            # A killed process can't damage a file with a write-ahead log; a computer that stops takes all sessions.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.executescript(_TABLE)
            self._opened = os.getpid(), self.path.stat().st_ino
        return self._connection

    def begin(self, state: bytes) -> str:
        """
        Keeps a state under a new id.

        Raises:
            RequestError: 503, if there are too many sessions, or none can be kept.
        """
        now = time.time()
        with self._file() as file, file:
            file.execute("BEGIN IMMEDIATE")
            file.execute("DELETE FROM sessions WHERE touched < ?", (now - self.expiry,))
            (count,) = file.execute("SELECT count(*) FROM sessions").fetchone()
            if count >= self.most:
                message = f"there are {count} sessions, which is the limit: ask again later, or send `state` instead"
                raise RequestError(503, message, "$.session", [("retry-after", str(round(self.expiry)))])
            name = secrets.token_urlsafe(16)
            file.execute("INSERT INTO sessions VALUES (?, ?, 0, ?)", (name, state, now))
        return name

    def find(self, name: str) -> tuple[bytes, int]:
        """
        The state of a session, and its version.

        Raises:
            RequestError: 404, if there is no such session, or no longer; 503, if none can be kept.
        """
        query = "SELECT state, version FROM sessions WHERE id = ? AND touched >= ?"
        with self._file() as file:
            found = file.execute(query, (name, time.time() - self.expiry)).fetchone()
        if found is None:
            message = f'there is no such session, or it expired after {self.expiry:g} s: begin one with "new"'
            raise RequestError(404, message, "$.session")
        return found[0], found[1]

    def leave(self, name: str, version: int, state: bytes) -> None:
        """
        Keeps the next state of a session.

        Raises:
            RequestError: 409, if it has another version by now: another request of this session was answered meanwhile;
                503, if none can be kept.
        """
        query = "UPDATE sessions SET state = ?, version = version + 1, touched = ? WHERE id = ? AND version = ?"
        with self._file() as file:
            changed = file.execute(query, (state, time.time(), name, version)).rowcount
        if not changed:
            message = "another request of this session was answered meanwhile: send one after the other"
            raise RequestError(409, message, "$.session")


@dataclass(slots=True)
class Memory:
    """
    What a request begins with, and how its next state goes back.

    Attributes:
        arrays: the state; None begins an episode.
        session: the id of its session, `NEW` for one that begins, "" for a state that the client keeps.
        version: of the session's state.
    """

    arrays: Arrays | None = None
    session: str = ""
    version: int = 0


def recall(request: Any, sha256: str, shapes: tuple[tuple[int, ...], ...], sessions: Sessions) -> Memory:
    """
    What a request with the fields `state` and `session` begins with.

    Raises:
        RequestError: 422, if it has both, or a state that is not this model's; 404, for a session that there is not.
    """
    if request.session is ABSENT:
        return Memory(None if request.state is ABSENT else from_token(request.state, sha256, shapes))
    if request.state is not ABSENT:
        raise RequestError(422, "expected `state` or `session`, found both", "$.session")
    if request.session == NEW:
        return Memory(session=NEW)
    content, version = sessions.find(request.session)
    return Memory(unpacked(content, sha256, shapes, "$.session"), request.session, version)


def remember(memory: Memory, sha256: str, after: Arrays, sessions: Sessions) -> dict[str, str]:
    """
    Keeps the next state, or gives it to the client: what the answer has of it.

    Raises:
        RequestError: 409 and 503, as `Sessions.leave` and `Sessions.begin`.
    """
    if not memory.session:
        return {"state": to_token(sha256, after)}
    content = packed(sha256, after)
    if memory.session == NEW:
        return {"session": sessions.begin(content)}
    sessions.leave(memory.session, memory.version, content)
    return {"session": memory.session}
