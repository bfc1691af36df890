"""
What stands in for an extension takes: flat arrays of exactly the right type and size, as the extension itself.
"""

from typing import Any, Protocol

FORMATS = {"float32": "f", "float64": "d", "int64": "ql", "uint8": "B", "bool": "?"}
"""How the buffer protocol names the dtypes."""


class Flat(Protocol):
    """
    What is known of an array: its dtype, and how many values it has for one observation.
    """

    @property
    def dtype(self) -> str:
        """
        As NumPy calls it.
        """

    @property
    def total(self) -> int:
        """
        The values of one observation.
        """


def buffer_of(value: Any, array: Flat, rows: int = 1) -> memoryview | None:
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
