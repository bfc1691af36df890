"""
A request's body, within its limits.
"""

from typing import Any

from compiler.serve.answers import RequestError
from compiler.serve.settings import Settings


async def read_body(headers: Any, proto: Any, settings: Settings) -> bytes:
    """
    All bytes of a body.

    Args:
        headers: of the request.
        proto: RSGI's protocol of the request.
        settings: with the limits.

    Raises:
        RequestError: 413, if it is longer than `max_body`.
    """
    length = headers.get("content-length")
    if length is not None and int(length) > settings.max_body:
        raise RequestError(
            413, f"expected at most {settings.max_body} bytes, found {length}", headers=[("connection", "close")]
        )
    content: bytes = await proto()
    return content
