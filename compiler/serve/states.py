"""
What a recurrent model remembers between requests: bytes that a session keeps, or a text that the client keeps.

The bytes are a model's mark and the state's float32 values, little endian; the text, a token, is base64url of them. It
is no secret and needs no signature: a client may send any observation, and so reach any state.
"""

import base64
import binascii

import numpy as np
from numpy.typing import NDArray

from compiler.serve.answers import RequestError

MARK = 8
"""Bytes of a model's SHA-256 that a token begins with."""

Arrays = tuple[NDArray[np.float32], ...]


def packed(sha256: str, arrays: Arrays) -> bytes:
    """
    The bytes for a state.
    """
    return bytes.fromhex(sha256)[:MARK] + b"".join(array.astype("<f4").tobytes() for array in arrays)


def to_token(sha256: str, arrays: Arrays) -> str:
    """
    The text for a state.
    """
    return base64.urlsafe_b64encode(packed(sha256, arrays)).decode()


def from_token(token: str, sha256: str, shapes: tuple[tuple[int, ...], ...]) -> Arrays:
    """
    The state that a text stands for.

    Args:
        token: what `to_token` made.
        sha256: of the model that is asked.
        shapes: of the state's arrays.

    Raises:
        RequestError: 422, if it is none, belongs to another model or another number of observations, or is not finite.
    """
    try:
        content = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(422, "expected a state as an answer gave it", "$.state") from None
    return unpacked(content, sha256, shapes, "$.state")


def unpacked(content: bytes, sha256: str, shapes: tuple[tuple[int, ...], ...], path: str) -> Arrays:
    """
    The state that bytes of `packed` stand for.

    Args:
        content: the bytes.
        sha256: of the model that is asked.
        shapes: of the state's arrays.
        path: where it stands in the request.

    Raises:
        RequestError: 422, as `from_token`.
    """
    if content[:MARK] != bytes.fromhex(sha256)[:MARK]:
        raise RequestError(
            422, "the state is another model's, or of a former version: begin an episode without it", path
        )
    values = content[MARK:]
    counts = [int(np.prod(shape)) for shape in shapes]
    if len(values) != 4 * sum(counts):
        message = f"expected a state of {sum(counts)} numbers for these observations, found {len(values) / 4:g}"
        raise RequestError(422, message, path)
    numbers = np.frombuffer(values, "<f4").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise RequestError(422, "the state holds NaN or infinity", path)
    parts = np.split(numbers, np.cumsum(counts)[:-1])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
