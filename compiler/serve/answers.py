"""
What goes back to a client.
"""

from typing import Any

import msgspec

Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, bytes]
"""Status, headers, body."""

JSON: Headers = [("content-type", "application/json")]
BYTES = "application/octet-stream"


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
