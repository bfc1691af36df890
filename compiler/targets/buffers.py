"""
What stands in for an extension takes: flat arrays of exactly the right type and size, as the extension itself.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from compiler.codegen.general_native import GeneralNativeView

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


def called(
    view: GeneralNativeView, rows: int, arguments: Sequence[Any]
) -> tuple[GeneralNativeView, list[int], list[memoryview]] | None:
    """
    What `predict_rows` of a model that is no policy is called with, after the number of observations.

    Returns:
        The view of what these observations are, with sizes that are fixed; the length of the sequences, if the model
        has one; the buffers of what is taken and left. None if one of them has other values.
    """
    length: list[int] = []
    if view.length:
        length, arguments = [int(arguments[0])], arguments[1:]
        view = view.at(*length)
    wanted = [*view.taken, *view.left]
    found = [buffer_of(value, array, rows) for value, array in zip(arguments, wanted, strict=True)]
    buffers = [buffer for buffer in found if buffer is not None]
    return (view, length, buffers) if len(buffers) == len(found) else None
