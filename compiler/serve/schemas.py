"""
Pieces of JSON Schema, and those of spaces.
"""

from collections.abc import Mapping
from typing import Any

from compiler.serve.observations import shapes_of

Schema = dict[str, Any]


def list_of(items: Schema, count: int | None = None) -> Schema:
    """
    An array of so many items, or of any number.
    """
    return {"type": "array", "items": items, **({} if count is None else {"minItems": count, "maxItems": count})}


def nested_in(shape: tuple[int, ...], element: Schema) -> Schema:
    """
    Arrays in each other.
    """
    for size in reversed(shape):
        element = list_of(element, size)
    return element


def object_of(required: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> Schema:
    """
    An object with members that it must have, and those that it may have.
    """
    return {"type": "object", "properties": {**required, **(more or {})}, "required": list(required)}


def action_schema(space: Mapping[str, Any]) -> Schema:
    """
    An action.
    """
    if space["kind"] == "MultiDiscrete":
        return list_of({"type": "integer"}, len(space["nvec"]))
    return nested_in(space.get("shape", ()), {"type": "integer" if space["kind"] == "Discrete" else "number"})


def narrowed(schema: Schema, space: dict[str, Any]) -> Schema:
    """
    The schema of what a space's type reads, with what the type leaves to the code: sizes of images, limits of choices.
    """
    if "anyOf" not in schema:
        return schema
    array, *encoded = schema["anyOf"]
    if space["kind"] == "MultiDiscrete":
        limits = [{"type": "integer", "minimum": 0, "exclusiveMaximum": n} for n in space["nvec"]]
        forms = [{"type": "array", "prefixItems": limits, "minItems": len(limits), "maxItems": len(limits)}]
    else:
        while array.get("type") == "array":
            array = array["items"]
        forms = [nested_in(shape, array) for shape in shapes_of(space)]
    return {"anyOf": [*forms, *encoded]}
