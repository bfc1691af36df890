"""
A request's body, within its limits: of bytes, of time, and of memory for all bodies that are on their way.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from compiler.serve.answers import Headers, RequestError

CLOSE: Final[Headers] = [("connection", "close")]
"""For requests whose body is not read to its end: the connection can't be used for another one."""

SMALL: Final = 2**16
"""Bytes of a body whose memory nobody counts."""
BODIES: Final = 16
"""Longest bodies that a worker has memory for at a time."""
SWEEPS: Final = 8
"""How often a body's age is looked at until it is too old."""


class Bodies:
    """
    Reads the bodies of a worker's requests.

    There is no timer for each body, which would take as long as a small policy computes: one for all of them looks
    eight times until the deadline which ones are too old, and rests while none is on its way.

    Args:
        limit: bytes that a body may have.
        seconds: that it may take to arrive.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit, self.seconds = limit, seconds
        self.taken = 0
        """Bytes of bodies on their way that are not small."""
        self.slow: set[asyncio.Task[Any]] = set()
        """Requests whose body has not arrived soon: they wait for their client, nobody for them."""
        self._begun: dict[asyncio.Task[Any], int] = {}
        self._sweeps = 0
        self._timer: asyncio.TimerHandle | None = None

    def read(self, headers: Any, proto: Any) -> Awaitable[bytes]:
        """
        All bytes of a body, once they are there; none for a request without one.

        Args:
            headers: of the request.
            proto: RSGI's protocol of the request.

        Raises:
            RequestError: 413 for a body above the limit, 408 for one that is too slow, 400 for one that breaks off,
                503 for a long one while there is no memory for more. Then the connection ends.
        """
        length = headers.get("content-length")
        if length is None:
            if headers.get("transfer-encoding") is None:
                return _nothing()
            return self._in_time(self._chunks(proto))
        size = int(length)  # granian lets nothing but digits pass
        if size <= SMALL and size <= self.limit:
            return self._in_time(proto())
        if size > self.limit:
            raise self._too_long(f"{size}")
        return self._long(size, proto)

    async def _long(self, size: int, proto: Any) -> bytes:
        self._take(size)
        try:
            return await self._in_time(proto())
        finally:
            self.taken -= size

    async def _in_time(self, reading: Awaitable[bytes]) -> bytes:
        task = asyncio.current_task()
        assert task is not None  # whoever awaits is a task
        self._begun[task] = self._sweeps
        if self._timer is None:
            self._rest()
        try:
            return await reading
        except ProtocolClosed:
            raise RequestError(400, "the body breaks off before its end", headers=CLOSE) from None
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (self,):
                raise
            task.uncancel()
            message = f"expected the whole body within {self.seconds:g} seconds"
            raise RequestError(408, message, headers=CLOSE) from None
        finally:
            del self._begun[task]
            self.slow.discard(task)

    async def _chunks(self, proto: Any) -> bytes:
        """
        A body of unknown length.

        granian marks its end with an empty chunk, and with two where it breaks off or has trailers, which nobody sends.
        """
        chunks: list[bytes] = []
        total = taken = empty = 0
        try:
            async for chunk in proto:
                chunks.append(chunk)
                total += len(chunk)
                empty += not chunk
                if total > self.limit:
                    raise self._too_long("more")
                if total > taken + SMALL:
                    self._take(total - taken)
                    taken = total
        finally:
            self.taken -= taken
        if empty != 1:
            raise RequestError(400, "the chunked body is malformed, breaks off, or has trailers", headers=CLOSE)
        return b"".join(chunks)

    def _take(self, size: int) -> None:
        if self.taken + size > BODIES * self.limit:
            headers = [*CLOSE, ("retry-after", "1")]
            raise RequestError(503, "too many long bodies are on their way: ask again", headers=headers)
        self.taken += size

    def _too_long(self, found: str) -> RequestError:
        return RequestError(413, f"expected a body of at most {self.limit} bytes, found {found}", headers=CLOSE)

    def _rest(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.seconds / SWEEPS, self._sweep)

    def _sweep(self) -> None:
        self._sweeps += 1
        for task, begun in list(self._begun.items()):
            age = self._sweeps - begun
            if age > 1:
                self.slow.add(task)
            if age > SWEEPS:
                task.cancel(self)
        self._timer = None
        if self._begun:
            self._rest()


async def _nothing() -> bytes:
    return b""
