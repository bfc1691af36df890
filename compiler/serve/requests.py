"""
Types of JSON that are made from a predictor's SPEC, and the arrays that come in them.

msgspec checks a request against its type while it parses; shapes and ranges are a part of the types, so that the schema
of the API says them too. What JSON can't say (sizes of an encoded array) is checked here.
"""

import base64
import binascii
import math
import re
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiler.serve.answers import RequestError

T = TypeVar("T")

LARGEST = float(np.finfo(np.float32).max)
Number = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
"""Whatever float32 holds, which is finite."""

ENCODED = ("float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
"""Types of numbers that an encoded array may have."""

ABSENT = msgspec.UNSET
Absent = msgspec.UnsetType


class Encoded(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """
    An array as its bytes: little endian, the last dimension innermost.
    """

    base64: str
    shape: list[Annotated[int, msgspec.Meta(ge=0, le=2**40)]]
    dtype: str = "float32"


def space_type(space: dict[str, Any]) -> Any:
    """
    The type of one observation of a space, as SPEC describes it.
    """
    match space["kind"]:
        case "Dict":
            parts = [(f"part_{number}", space_type(part)) for number, part in enumerate(space["spaces"].values())]
            names = {f"part_{number}": key for number, key in enumerate(space["spaces"])}
            return msgspec.defstruct("Observation", parts, forbid_unknown_fields=True, rename=names, frozen=True)
        case "Discrete":
            return Annotated[int, msgspec.Meta(ge=0, lt=space["n"])]
        case "MultiDiscrete":
            return _listed(int, (len(space["nvec"]),)) | Encoded
        case "MultiBinary":
            return _listed(Annotated[int, msgspec.Meta(ge=0, le=1)] | bool, space["shape"]) | Encoded
        case _:
            whole = Annotated[int, msgspec.Meta(ge=0, le=255)] if space["dtype"] == "uint8" else Number
            return _listed(whole, space["shape"]) | Encoded if space["shape"] else whole


def masks_type(count: int) -> Any:
    """
    The type of one observation's masks.
    """
    return _listed(Annotated[int, msgspec.Meta(ge=0, le=1)] | bool, (count,))


def rows_type(one: Any) -> Any:
    """
    The type of a batch, which is never empty.
    """
    return Annotated[list[one], msgspec.Meta(min_length=1)]


def _listed(element: Any, shape: tuple[int, ...]) -> Any:
    for size in reversed(shape):
        element = Annotated[list[element], msgspec.Meta(min_length=size, max_length=size)]
    return element


def array(value: Any, dtype: str, path: str) -> NDArray[Any]:
    """
    The array that a checked value stands for: of `dtype`, or of the encoded one's own.

    Raises:
        RequestError: 422, if its bytes are not what its shape and dtype say, or it is ragged.
    """
    if isinstance(value, Encoded):
        return decoded(value, path)
    try:
        return np.array(value, dtype)
    except (ValueError, TypeError, OverflowError):
        raise RequestError(422, "expected nested arrays of numbers, of one length at each depth", path) from None


def decoded(value: Encoded, path: str) -> NDArray[Any]:
    """
    The array whose bytes came as base64.
    """
    if value.dtype not in ENCODED:
        raise RequestError(422, f"expected one of {', '.join(ENCODED)}, found {value.dtype[:20]!r}", f"{path}.dtype")
    try:
        content = base64.b64decode(value.base64, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(422, "expected base64", f"{path}.base64") from None
    dtype = np.dtype(value.dtype).newbyteorder("<")
    expected = math.prod(value.shape) * dtype.itemsize
    if len(content) != expected or len(value.shape) > 32:
        shape = tuple(value.shape[:32])
        raise RequestError(422, f"expected {expected} bytes for shape {shape} of {dtype}, found {len(content)}", path)
    return np.frombuffer(content, dtype).reshape(value.shape)


def parse(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """
    What a body holds.

    Raises:
        RequestError: 400 for what is not JSON, too deep or has too many digits; 422 for JSON of another type, with the
            place in it, what was expected and what was found.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _explained(body, error) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError(400, f"the body is not JSON: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "too many arrays or objects in each other"
    return str(error).removeprefix("JSON is malformed: ").lower()


def _explained(body: bytes, error: msgspec.ValidationError) -> RequestError:
    """
    The same error, with what stands there.
    """
    text, _, place = str(error).partition(" - at `")
    path = place.rstrip("`") or "$"
    if "Number out of range" in text:
        return RequestError(400, "a number has too many digits, or is too large", path)
    try:
        # What was not read yet may be no JSON at all.
        found = _described(_at(msgspec.json.decode(body), path))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as other:
        return RequestError(400, f"the body is not JSON: {_reason(other)}")
    except (KeyError, IndexError, TypeError):
        found = ""
    message = text[:1].lower() + text[1:]
    if found and ", got " not in message and message.startswith("expected"):
        message += f", found {found}"
    return RequestError(422, message, path)


def _at(content: Any, path: str) -> Any:
    for key, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", path):
        content = content[key] if key else content[int(index)]
    return content


def _described(value: Any) -> str:
    match value:
        case list():
            return f"an array of {len(value)}"
        case dict():
            return "an object"
        case str():
            return "a text"
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case _:
            return f"{value}"[:40]
