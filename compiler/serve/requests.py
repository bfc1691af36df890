"""
Types of JSON for what a predictor takes, and the arrays that come in them.

msgspec checks a request against its type while it parses: kinds and ranges of numbers, depths and most lengths are a
part of the types, so that the schema of the API says them too, and nothing large is made of what is refused. What a
type can't say is checked here: ragged arrays, sizes of an encoded array, shapes that depend on each other.
"""

import math
from typing import Annotated, Any, Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiler.serve.answers import RequestError
from compiler.serve.encoded import Encoded
from compiler.serve.refusals import explained, not_json

T = TypeVar("T")

SMALL: Final = 2**20
"""Bytes of a body up to which it may hold as many arrays as it likes."""

MOST_ARRAYS: Final = 2**20
"""Arrays that a larger one may hold: each takes about 100 bytes of memory, and may be 3 bytes in the body."""

ABSENT = msgspec.UNSET
Absent = msgspec.UnsetType
Truth = Annotated[int, msgspec.Meta(ge=0, le=1)] | bool


def element_type(dtype: str) -> Any:
    """
    The type of one number of an array: what this dtype holds, and finite.
    """
    if dtype == "bool":
        return Truth
    if dtype == "float64":
        return float
    if dtype.startswith("float"):
        # The last number before half of a step beyond the largest is rounded to the largest, not to infinity.
        largest, before = np.finfo(dtype).max, np.nextafter(np.finfo(dtype).max, 0, dtype=dtype)
        most = math.nextafter(float(largest) + (float(largest) - float(before)) / 2, 0)
        return Annotated[float, msgspec.Meta(ge=-most, le=most)]
    limits = np.iinfo(dtype)
    return Annotated[int, msgspec.Meta(ge=int(limits.min), le=min(int(limits.max), 2**63 - 1))]


def masks_type() -> Any:
    """
    The type of masks, of one observation or of a batch.
    """
    return nested(Truth | list[Truth], 1)


def input_type(dtype: str, dimensions: int, batched: bool) -> Any:
    """
    The type of a program's input: nested arrays of a number of dimensions, or with one more for a batch.
    """
    element: Any = element_type(dtype)
    return nested(element | list[element] if batched else element, dimensions) | Encoded


def listed(element: Any, shape: tuple[int, ...]) -> Any:
    """
    The type of nested arrays of a shape.
    """
    for size in reversed(shape):
        element = Annotated[list[element], msgspec.Meta(min_length=size, max_length=size)]
    return element


def nested(element: Any, depth: int) -> Any:
    """
    The type of nested arrays of any lengths but 0.
    """
    for _ in range(depth):
        element = Annotated[list[element], msgspec.Meta(min_length=1)]
    return element


def array(value: Any, dtype: str, path: str) -> NDArray[Any]:
    """
    The array that a checked value stands for: of `dtype`, or of the encoded one's own.

    Raises:
        RequestError: 422, if its bytes are not what its shape and dtype say, or it is ragged.
    """
    if isinstance(value, Encoded):
        return value.array(path)
    try:
        return np.array(value, dtype)
    except (ValueError, TypeError):
        raise RequestError(
            422, "expected nested arrays of one length at each depth, found several lengths", path
        ) from None


def expect_shape(found: NDArray[Any], shapes: tuple[tuple[int, ...], ...], path: str, batch: bool = False) -> None:
    """
    Checks that an array has one of these shapes, or one with a batch in front.

    Raises:
        RequestError: 422, if it has another.
    """
    if found.shape[batch:] not in shapes or found.ndim < batch or (batch and not len(found)):
        wanted = " or ".join(f"[{', '.join(['n'] * batch + list(map(str, shape)))}]" for shape in shapes)
        raise RequestError(422, f"expected shape {wanted}, found {list(found.shape)}", path)


def parse(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """
    What a body holds.

    Raises:
        RequestError: 400 for what is not JSON, too deep, or has too many digits or arrays; 422 for JSON of another
            type, with the place in it, what was expected and what was found.
    """
    if len(body) > SMALL and (arrays := body.count(b"[")) > MOST_ARRAYS:
        message = f"expected at most {MOST_ARRAYS} arrays in a body, found {arrays}: send numbers as base64"
        raise RequestError(400, message)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise explained(decoder, body, error) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise not_json(decoder, body, error) from None
