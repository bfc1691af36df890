"""
ONNX files of old opsets, as many tools for robots and games still write them: what onnx itself makes of them.
"""

import onnx.version_converter
from onnx import ModelProto
from onnx.helper import make_attribute

from compiler.errors import UnsupportedError, quote

OLDEST = 13
"""The first opset that is translated: before, axes and sizes stood in attributes."""
CONVERTED = 7
"""The first opset that onnx converts as it should: before, sizes were repeated by other rules."""
NAMED_COORDINATES = 11
"""The first opset whose Resize says how pixels lie, in attributes with a default that onnx's converter leaves."""
COORDINATES = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
"""How they lay before."""


def upgraded(model: ModelProto, version: int, where: str) -> ModelProto:
    """
    The model in the oldest opset that is translated.

    Args:
        model: keeps to the rules of its own opset.
        version: that opset, from `CONVERTED` to below `OLDEST`.
        where: the file, for messages.

    Raises:
        UnsupportedError: onnx can't convert it.
    """
    try:
        found = onnx.version_converter.convert_version(model, OLDEST)
    except Exception as error:  # whatever onnx raises on an op that it has no rule for
        text = f"is of opset {version}, and onnx can't make opset {OLDEST} of it: {quote(str(error), 200)}"
        raise UnsupportedError(where, f"{text}; export it anew, with opset {OLDEST + 5}") from None
    for node in found.graph.node if version < NAMED_COORDINATES else ():
        if node.op_type == "Resize":
            kept = [attribute for attribute in node.attribute if attribute.name == "mode"]
            del node.attribute[:]
            node.attribute.extend([*kept, *(make_attribute(key, value) for key, value in COORDINATES.items())])
    return found
