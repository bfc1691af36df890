"""
What goes back to a client.
"""

from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, bytes]
"""Status, headers, body."""

JSON: Headers = [("content-type", "application/json")]
BYTES = "application/octet-stream"
ONE_CHOICE: Headers = [("content-type", BYTES), ("x-shape", ""), ("x-dtype", "int64")]
"""What is said of one action that is a choice, as bytes."""


class RequestError(Exception):
    """
    A request that is not answered as it asks.

    Args:
        status: of HTTP, 400 and above.
        message: for the person who reads it: what was expected, what was found.
        path: where in the request's JSON, as `$.observation[3]`.
        headers: that belong to the status, as Retry-After.
    """

    def __init__(self, status: int, message: str, path: str = "", headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.path, self.headers = status, message, path, headers or []

    def answer(self) -> Answer:
        """
        The same as JSON.
        """
        content = {"error": self.message, **({"path": self.path} if self.path else {})}
        return self.status, [*JSON, *self.headers], encode(content)


def encode(content: Any) -> bytes:
    """
    One line of JSON, with a space after commas and colons.
    """
    return msgspec.json.format(msgspec.json.encode(content), indent=0)


def json_answer(content: Any, status: int = 200) -> Answer:
    """
    The content as JSON.
    """
    return status, JSON, encode(content)


def bytes_answer(array: NDArray[Any]) -> Answer:
    """
    An array as its bytes: little endian, the last dimension innermost.
    """
    headers, little = _form(array.shape, array.dtype)
    return 200, headers, array.astype(little, copy=False).tobytes()


@lru_cache(256)
def _form(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Headers, np.dtype[Any]]:
    """
    What is said of an array of bytes, and the dtype that it leaves in: NumPy takes long to name one.
    """
    headers = [("content-type", BYTES), ("x-shape", ",".join(map(str, shape))), ("x-dtype", str(dtype))]
    return headers, dtype.newbyteorder("<")
