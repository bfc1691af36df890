"""
What a policy sees, in JSON: types and arrays of the spaces that observations are from.
"""

from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiler.serve.answers import RequestError
from compiler.serve.encoded import Encoded
from compiler.serve.requests import Truth, array, element_type, expect_shape, listed, nested


class Observations:
    """
    The observations of a space.

    Args:
        space: as SPEC describes it.
    """

    def __init__(self, space: dict[str, Any]) -> None:
        self.space = space
        self.size = int(np.prod(space["shape"])) if space["kind"] == "Box" else 0
        """Numbers of an observation that is one array of them; 0 for other spaces."""
        self.type_of_one: Any = _type_of(space)
        """Of JSON; a batch, which is never empty, may also be one encoded array."""
        rows: Any = nested(self.type_of_one, 1)
        self.type_of_batch: Any = rows if space["kind"] == "Dict" else rows | Encoded

    def batch(self, rows: Any, path: str) -> Any:
        """
        Observations with the batch in front: given as a list, or as one encoded array.
        """
        alone = self.space["kind"] == "Dict" or (isinstance(rows, list) and any(isinstance(r, Encoded) for r in rows))
        if not alone:
            found = array(rows, _dtype(self.space), path)
            expect_shape(found, shapes_of(self.space), path, batch=True)
            return found
        parts = [self.one(row, f"{path}[{number}]") for number, row in enumerate(rows)]
        try:
            if self.space["kind"] == "Dict":
                return {key: np.stack([part[key] for part in parts]) for key in self.space["spaces"]}
            return np.stack(parts)
        except ValueError:
            raise RequestError(422, "expected images of one order, found channels first and last", path) from None

    def one(self, value: Any, path: str) -> Any:
        """
        One observation.
        """
        if self.space["kind"] == "Dict":
            spaces, parts = self.space["spaces"].items(), msgspec.structs.astuple(value)
            keys = zip(spaces, parts, strict=True)
            return {key: _shaped(part, space, f"{path}.{key}") for (key, space), part in keys}
        return _shaped(value, self.space, path)

    def zeros(self) -> Any:
        """
        An observation.
        """
        parts = self.space["spaces"] if self.space["kind"] == "Dict" else {"": self.space}
        zeros = {key: np.zeros(shapes_of(part)[0], _dtype(part)) for key, part in parts.items()}
        return zeros if self.space["kind"] == "Dict" else zeros[""]


def _type_of(space: dict[str, Any]) -> Any:
    """
    The type of one observation of a space, as SPEC describes it.
    """
    match space["kind"]:
        case "Dict":
            parts = [(f"part_{number}", _type_of(part)) for number, part in enumerate(space["spaces"].values())]
            names = {f"part_{number}": key for number, key in enumerate(space["spaces"])}
            return msgspec.defstruct("Observation", parts, forbid_unknown_fields=True, rename=names, frozen=True)
        case "Discrete":
            return Annotated[int, msgspec.Meta(ge=0, lt=space["n"])]
        case "MultiDiscrete":
            return listed(Annotated[int, msgspec.Meta(ge=0, lt=max(space["nvec"]))], (len(space["nvec"]),)) | Encoded
        case "MultiBinary":
            return listed(Truth, space["shape"]) | Encoded
        case _:
            element, shapes = element_type(space["dtype"]), shapes_of(space)
            if not shapes[0]:
                return element
            return (listed(element, shapes[0]) if len(shapes) == 1 else nested(element, len(shapes[0]))) | Encoded


def shapes_of(space: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
    """
    The shapes that one observation may have: images may have their channels first or last.
    """
    if space["kind"] == "MultiDiscrete":
        return ((len(space["nvec"]),),)
    shape = tuple(space.get("shape", ()))
    return (shape, (*shape[1:], shape[0])) if space.get("dtype") == "uint8" and len(shape) == 3 else (shape,)


def _dtype(space: dict[str, Any]) -> str:
    return str(space["dtype"]) if space["kind"] == "Box" else "int64"


def _shaped(value: Any, space: dict[str, Any], path: str) -> NDArray[Any]:
    found = array(value, _dtype(space), path)
    expect_shape(found, shapes_of(space), path)
    return found
