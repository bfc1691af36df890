"""
The words that kernels are written with: float32 SIMD vectors of 16 lanes, and pointers to float32.

Every word is a plain NumPy function, which is its definition: under NUMBA_DISABLE_JIT=1 kernels run on these. When
Numba compiles a kernel, `lowering.py` puts the LLVM instruction that does the same in the place of each word.
"""

import ctypes
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

LANES = 16
"""float32 values in a register."""

ROUND = 12582912.0
"""1.5 * 2 ** 23: adding it to a small float32 rounds that to a whole number, which then stands in the lowest bits."""

Pointer: TypeAlias = NDArray[np.float32]
"""The address of a float32; in plain Python the array that begins there."""
Vector: TypeAlias = NDArray[np.float32]
"""LANES float32 values in a register."""
Mask: TypeAlias = NDArray[np.bool_]
"""LANES truth values."""


def floats(array: Any) -> int:
    """
    How many float32 an object holds in one contiguous row; -1 if that is not what it is.
    """
    return _counted(array, np.float32)


def doubles(array: Any) -> int:
    """
    How many float64 an object holds in one contiguous row; -1 if that is not what it is.
    """
    return _counted(array, np.float64)


def integers(array: Any) -> int:
    """
    How many int64 an object holds in one contiguous row; -1 if that is not what it is.
    """
    return _counted(array, np.int64)


def octets(array: Any) -> int:
    """
    How many uint8 an object holds in one contiguous row; -1 if that is not what it is.
    """
    return _counted(array, np.uint8)


def flags(array: Any) -> int:
    """
    How many bool an object holds in one contiguous row; -1 if that is not what it is.
    """
    return _counted(array, np.bool_)


def _counted(array: Any, dtype: Any) -> int:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
        return -1
    return array.size if array.flags.c_contiguous else -1


def address(array: NDArray[Any]) -> Pointer:
    """
    Where a contiguous array begins.
    """
    start: Pointer = array.view(np.uint8 if array.itemsize == 1 else np.float32)
    return start


def pointer(location: int, count: int) -> Pointer:
    """
    The pointer to `count` float32 at a machine address.
    """
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(location))


def workspace(count: int) -> Pointer:
    """
    Room for `count` float32 on the stack, until the function returns; only at the beginning of an entry point.
    """
    return np.empty(count, np.float32)


def advance(start: Pointer, count: int) -> Pointer:
    """
    The pointer `count` float32 further on.
    """
    return start[count:]


def skip(start: Pointer, count: int) -> Pointer:
    """
    The pointer `count` bytes further on.
    """
    moved: Any = start.view(np.uint8)[count:]
    further: Pointer = moved
    return further


def align(start: Pointer) -> Pointer:
    """
    The next address that is a multiple of 64 bytes, so that no vector straddles two cache lines.
    """
    return start


def load(source: Pointer, index: int) -> Vector:
    """
    The LANES values from source[index] on.
    """
    return source[index : index + LANES].copy()


def store(target: Pointer, index: int, value: Vector) -> None:
    """
    Writes a vector to target[index] and the places after it.
    """
    target[index : index + LANES] = value


def load_head(source: Pointer, index: int, count: int) -> Vector:
    """
    The `count` values from source[index] on, and 0 in the other lanes; nothing behind them is read.
    """
    result = np.zeros(LANES, np.float32)
    result[:count] = source[index : index + count]
    return result


def store_head(target: Pointer, index: int, count: int, value: Vector) -> None:
    """
    Writes the first `count` lanes of a vector; what stands behind them stays.
    """
    target[index : index + count] = value[:count]


def bounded(index: np.float32, count: int) -> int:
    """
    A whole number, kept as float32, as an index from 0 to count - 1: the nearest one, 0 for NaN.
    """
    return int(min(float(index), count - 1)) if index > 0 else 0


def transpose_square(target: Pointer, index: int) -> None:
    """
    Of the LANES vectors from target[index] on, swaps lane i of vector k with lane k of vector i.
    """
    square = target[index : index + LANES * LANES].reshape(LANES, LANES)
    square[...] = square.T.copy()


def load_scalar(source: Pointer, index: int) -> np.float32:
    """
    The value source[index].
    """
    value: np.float32 = source[index]
    return value


def store_scalar(target: Pointer, index: int, value: np.float32) -> None:
    """
    Writes target[index].
    """
    target[index] = value


def load_double(source: Pointer, index: int) -> np.float64:
    """
    The float64 number `index` of those that begin at the pointer.
    """
    value: np.float64 = source.view(np.float64)[index]
    return value


def load_integer(source: Pointer, index: int) -> int:
    """
    The int64 number `index` of those that begin at the pointer.
    """
    value: np.int64 = source.view(np.int64)[index]
    return int(value)


def load_byte(source: Pointer, index: int) -> int:
    """
    The byte number `index` of those that begin at the pointer.
    """
    value: np.uint8 = source.view(np.uint8)[index]
    return int(value)


def store_double(target: Pointer, index: int, value: np.float64) -> None:
    """
    Writes the float64 number `index` of those that begin at the pointer.
    """
    target.view(np.float64)[index] = value


def store_integer(target: Pointer, index: int, value: np.float32) -> None:
    """
    Writes a whole number as the int64 number `index` of those that begin at the pointer.
    """
    target.view(np.int64)[index] = value


def splat(value: np.float32 | float) -> Vector:
    """
    The same value in every lane.
    """
    return np.full(LANES, value, np.float32)


def fma(a: Vector, b: Vector, c: Vector) -> Vector:
    """
    The product of a and b plus c, rounded once.
    """
    product = a.astype(np.float64) * b  # exact
    whole = product + c
    back = whole - product
    error = (product - (whole - back)) + (c - back)
    # Rounding the float64 sum again must not turn a near tie into a tie: what was cut off makes its last bit odd.
    cut = ((error > 0) | (error < 0)) & (whole.view(np.int64) & 1 == 0)
    return np.where(cut, np.nextafter(whole, np.copysign(np.inf, error)), whole).astype(np.float32)


def select(mask: Mask, chosen: Vector, otherwise: Vector) -> Vector:
    """
    In each lane the first value where the mask is true, the second elsewhere.
    """
    return np.where(mask, chosen, otherwise)


def absolute(value: Vector) -> Vector:
    """
    The magnitude in every lane.
    """
    return np.abs(value)


def power_of_two(whole: Vector) -> Vector:
    """
    2 ** whole for whole numbers from -126 to 127.
    """
    bits: NDArray[np.int32] = (whole + ROUND).view(np.int32)
    return ((bits + 127) << 23).view(np.float32)


def exponent(value: Vector) -> Vector:
    """
    The largest whole number whose power of two does not exceed a positive normal value.
    """
    return ((value.view(np.int32) >> 23) - 127).astype(np.float32)


def mantissa(value: Vector) -> Vector:
    """
    A positive normal value over 2 ** exponent(value): in [1, 2).
    """
    return ((value.view(np.int32) & 0x7FFFFF) | 0x3F800000).view(np.float32)


def head(value: Vector, count: int) -> Vector:
    """
    The first `count` lanes of a vector, and 0 in the others.
    """
    return np.where(np.arange(LANES) < count, value, np.float32(0))


def put(value: Vector, lane: int, scalar: np.float32) -> Vector:
    """
    The vector with another value in one lane.
    """
    result = value.copy()
    result[lane] = scalar
    return result


def total(value: Vector) -> np.float32:
    """
    The sum of all lanes, added in halves: the same order on every processor.
    """
    while value.size > 1:
        value = value[: value.size // 2] + value[value.size // 2 :]
    result: np.float32 = value[0]
    return result


def is_finite(value: Vector) -> bool:
    """
    Whether no lane is NaN or infinite.
    """
    return bool(np.isfinite(value).all())
