"""
What stands in for an extension takes: flat arrays of exactly the right type and size, as the extension itself.
"""

from typing import Any

from compiler.codegen.inputs import ArrayView

FORMATS = {"float32": "f", "float64": "d", "int64": "ql", "uint8": "B", "bool": "?"}
"""How the buffer protocol names the dtypes."""


def buffer_of(value: Any, array: ArrayView, rows: int = 1) -> memoryview | None:
    """
    The values that an array has for so many observations.

    None if the object shows others, or of another dtype, or they do not lie side by side.
    """
    try:
        buffer = memoryview(value)
    except TypeError:
        return None
    fits = buffer.ndim == 1 and buffer.c_contiguous and buffer.format in tuple(FORMATS[array.dtype])
    return buffer if fits and len(buffer) == rows * array.total else None
