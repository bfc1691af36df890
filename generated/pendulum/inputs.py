"""
What callers give, as the rows that entry points take.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def box(value: Any, shape: tuple[int, ...], dtype: "np.dtype[Any]", what: str) -> tuple[NDArray[Any], bool]:
    """
    Observations of a Box as contiguous rows, and whether it is only one, without a batch dimension.

    Args:
        value: array-like of this shape, or with one dimension more in front.
        shape: of one observation.
        dtype: of the rows.
        what: a name for messages.
    """
    array = real(value, shape, what)
    size = math.prod(shape)
    if array.shape == shape:
        return packed(array.reshape(1, size), dtype, what), True
    if array.ndim and array.shape[1:] == shape and len(array):
        return packed(array.reshape(len(array), size), dtype, what), False
    raise wrong_shape(what, shape, array)


def writable(out: Any, count: int, dtype: "np.dtype[Any]") -> NDArray[Any]:
    """
    A buffer of the caller's for `count` values of a dtype, as a row.
    """
    try:
        array = np.asarray(memoryview(out))
    except (TypeError, ValueError):
        raise TypeError(f"out: expected a writable buffer of {dtype}, found {type(out).__name__}") from None
    flags = array.flags
    if array.dtype != dtype or array.size != count or not (flags.c_contiguous and flags.aligned and flags.writeable):
        kind = "" if flags.c_contiguous and flags.aligned else "not contiguous, "
        kind += "" if flags.writeable else "read-only, "
        raise ValueError(
            f"out: expected {count} {dtype} in a writable, contiguous buffer, "
            f"found {kind}{array.dtype} of shape {array.shape}"
        )
    return array.reshape(-1)


def real(value: Any, shape: tuple[int, ...], what: str) -> NDArray[Any]:
    """
    The value as an array of real numbers.
    """
    try:
        array = np.asarray(value)
    except (ValueError, RuntimeError) as error:  # ragged lists; tensors that want their gradients
        raise ValueError(f"{what}: expected an array of shape {shape}, found {kind_of(value)}: {error}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what}: expected real numbers, found {kind_of(value)} of dtype {array.dtype}")
    return array


def kind_of(value: Any) -> str:
    """
    What a value is, for messages.
    """
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], dict):
        return "a tuple that ends in a dict, as env.reset() returns it (give its first item alone)"
    return type(value).__name__


def packed(array: NDArray[Any], dtype: "np.dtype[Any]", what: str) -> NDArray[Any]:
    """
    The array in this dtype, contiguous and aligned, as entry points take it; copied only if it is not.
    """
    if array.dtype is not dtype:
        with np.errstate(all="ignore"):  # what the dtype can't hold becomes infinite, and is refused as such
            return array.astype(dtype, order="C")
    return array if array.flags.c_contiguous and array.flags.aligned else array.copy(order="C")


def wrong_shape(what: str, shape: tuple[int, ...], array: NDArray[Any]) -> ValueError:
    """
    The error for an array of another shape.
    """
    batch = ", ".join(map(str, ("n", *shape)))
    return ValueError(
        f"{what}: expected shape {shape}, or ({batch}{',' if not shape else ''}) with n of at least 1, "
        f"found {array.shape}"
    )


def expect_finite(what: str, array: NDArray[Any]) -> None:
    """
    Raises ValueError for the first value that is NaN or infinite.
    """
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, *place = (int(index) for index in bad[0])
        found = array[tuple(bad[0])]
        raise ValueError(f"{what} {row} of {len(array)}: expected finite numbers, found {found} at {tuple(place)}")
