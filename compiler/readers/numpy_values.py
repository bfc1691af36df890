"""
NumPy dtypes, arrays and scalars out of decoded pickles, for the plain number types only.

NumPy writes an array as a call of `_frombuffer` or of `_reconstruct` with a state, a scalar as a call of `scalar`, a
dtype as a call of `dtype` with a state; the modules moved from `numpy.core` to `numpy._core` in 2.0. Nothing is called
here: the arguments are checked, and the bytes are viewed as what they are said to be.
"""

import math
from typing import Literal

import numpy as np

from compiler.errors import CheckpointError, quote
from compiler.readers.symbols import Call, Symbol, describe

DTYPE = "numpy.dtype"
NDARRAY = "numpy.ndarray"
FROMBUFFER = ("numpy._core.numeric._frombuffer", "numpy.core.numeric._frombuffer")
RECONSTRUCT = ("numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct")
SCALAR = ("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")
ENCODE = "_codecs.encode"
NO_BYTES = ("__builtin__.bytes", "builtins.bytes")

CODES = frozenset(("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"))
NAMES = frozenset(
    ["bool", "bool_", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
MOST_DIMENSIONS = 32
MOST_BYTES = 1 << 62


def as_dtype(value: object, where: str) -> np.dtype:
    """
    The dtype of a decoded value.

    Args:
        value: a call of `numpy.dtype`, a scalar type such as `numpy.float32`, or the name of one.
        where: the file and the field, for messages.

    Returns:
        A bool, integer or float dtype of at most 8 bytes, with the byte order that it was saved with.

    Raises:
        CheckpointError: it is something else; a foreign global is named.
    """
    if isinstance(value, Symbol) and value.module == "numpy" and value.name in NAMES:
        return np.dtype(value.name.rstrip("_"))
    if isinstance(value, str) and (value in NAMES or value in CODES):
        return np.dtype(value.rstrip("_"))
    if not isinstance(value, Call) or _path(value) != DTYPE:
        raise CheckpointError(where, f"expected a NumPy dtype, found {describe(value)}")
    code = value.arguments[0] if value.arguments else None
    if not isinstance(code, str) or code not in CODES or value.items or value.appends or value.keywords:
        raise CheckpointError(
            where, f"holds a NumPy dtype of {describe(code)}; only bool, integer and float types are read"
        )
    return np.dtype(code).newbyteorder(_byte_order(value.state, where))


def _byte_order(state: object, where: str) -> Literal["<", ">", "|"]:
    """
    The byte order in a dtype's state: (version, order, subtype, field names, fields, size, alignment, flags, ...).
    """
    if state is None:
        return "|"
    if isinstance(state, tuple) and len(state) >= 5 and state[2:5] == (None, None, None):
        # NumPy never writes "=", the order of whichever machine reads it.
        for order in ("<", ">", "|"):
            if state[1] == order:
                return order
    raise CheckpointError(where, f"holds a NumPy dtype with an unusual state: {describe(state)}")


def as_array(value: object, where: str) -> np.ndarray:
    """
    The array of a decoded value.

    Args:
        value: a call of NumPy's `_frombuffer` or `_reconstruct`.
        where: the file and the field, for messages.

    Returns:
        A C-contiguous read-only array in native byte order, with the saved shape and number type.

    Raises:
        CheckpointError: it is something else (a foreign global is named), or shape, dtype and bytes do not fit.
    """
    path = _path(value)
    if not isinstance(value, Call) or path not in FROMBUFFER + RECONSTRUCT:
        raise CheckpointError(where, f"expected a NumPy array, found {describe(value)}")
    if value.items or value.appends or value.keywords:
        raise CheckpointError(where, "holds a damaged NumPy array")
    array = _from_buffer(value, where) if path in FROMBUFFER else _from_state(value, where)
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape)
    native.flags.writeable = False
    return native


def _from_buffer(call: Call, where: str) -> np.ndarray:
    """
    `_frombuffer(bytes, dtype, shape, order[, axis_order])`; order K means C, and then a transposition.
    """
    if len(call.arguments) not in (4, 5) or call.state is not None:
        raise CheckpointError(where, "holds a damaged NumPy array")
    content, dtype, shape, order = call.arguments[:4]
    axes = call.arguments[4] if len(call.arguments) == 5 else None
    if order == "K" and axes is not None:
        array = _shaped(content, dtype, shape, "C", where)
        if sorted(as_shape(axes, where)) != list(range(array.ndim)):
            raise CheckpointError(where, "holds a NumPy array with an impossible order of axes")
        return array.transpose(as_shape(axes, where))
    if axes is not None:
        raise CheckpointError(where, "holds a damaged NumPy array")
    return _shaped(content, dtype, shape, order, where)


def _from_state(call: Call, where: str) -> np.ndarray:
    """
    `_reconstruct(ndarray, (0,), b"b")` with the state (version, shape, dtype, is Fortran order, bytes).
    """
    kind = call.arguments[0] if call.arguments else None
    if not isinstance(kind, Symbol) or kind.path != NDARRAY:
        raise CheckpointError(where, f"expected a plain NumPy array, found {describe(kind)}")
    if not isinstance(call.state, tuple) or len(call.state) != 5 or not isinstance(call.state[3], (bool, int)):
        raise CheckpointError(where, "holds a damaged NumPy array")
    _, shape, dtype, fortran, content = call.state
    return _shaped(content, dtype, shape, "F" if fortran else "C", where)


def _shaped(content: object, dtype: object, shape: object, order: object, where: str) -> np.ndarray:
    """
    Bytes as an array, once the dtype is known to be plain and the shape to take up exactly the bytes.
    """
    number = as_dtype(dtype, where)
    sizes = as_shape(shape, where)
    raw = as_bytes(content, where)
    if order not in ("C", "F"):
        raise CheckpointError(where, f"holds a NumPy array in the unknown order {describe(order)}")
    wanted = math.prod(sizes) * number.itemsize
    if wanted != len(raw):
        raise CheckpointError(
            where, f"holds a NumPy array of shape {sizes} that needs {wanted:,} bytes, not {len(raw):,}"
        )
    return np.frombuffer(_plain(raw, number), dtype=number).reshape(sizes, order="F" if order == "F" else "C")


def _plain(raw: bytes, number: np.dtype) -> bytes:
    """
    The bytes, where they are booleans brought to 0 and 1; NumPy's own loops rely on that.
    """
    return (np.frombuffer(raw, np.uint8) != 0).tobytes() if number.kind == "b" else raw


def as_shape(value: object, where: str) -> tuple[int, ...]:
    """
    A tuple of sizes that an array can have: integers >= 0, at most 32 of them, below 2**62 elements even without zeros.

    Raises:
        CheckpointError: it is something else.
    """
    if not isinstance(value, (tuple, list)) or len(value) > MOST_DIMENSIONS:
        raise CheckpointError(where, f"expected a shape, found {describe(value)}")
    sizes = tuple(value)
    if any(type(size) is not int or size < 0 for size in sizes):
        raise CheckpointError(where, f"has an impossible shape: {', '.join(describe(size) for size in sizes)}")
    if math.prod(max(size, 1) for size in sizes) * 8 > MOST_BYTES:
        raise CheckpointError(where, f"has a shape beyond all memory: {quote(sizes)}")
    return sizes


def as_bytes(value: object, where: str) -> bytes:
    """
    Raw bytes: as they are, or as protocol 2 writes them, `_codecs.encode(text, "latin1")` and, if empty, `bytes()`.

    Raises:
        CheckpointError: it is something else; a foreign global is named.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, Call) and _path(value) in NO_BYTES and not value.arguments:
        return b""
    if isinstance(value, Call) and _path(value) == ENCODE and len(value.arguments) == 2:
        text, encoding = value.arguments
        if isinstance(text, str) and encoding in ("latin1", "latin-1"):
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError:
                raise CheckpointError(where, "holds bytes with a character above 255") from None
    raise CheckpointError(where, f"expected bytes, found {describe(value)}")


def as_scalar(value: object, where: str) -> bool | int | float:
    """
    A Python number from a decoded one or from a call of NumPy's `scalar`.

    Raises:
        CheckpointError: it is something else; a foreign global is named.
    """
    if isinstance(value, (bool, int, float)):
        return value
    if not isinstance(value, Call) or _path(value) not in SCALAR or len(value.arguments) != 2:
        raise CheckpointError(where, f"expected a number, found {describe(value)}")
    dtype, content = value.arguments
    number: bool | int | float = _shaped(content, dtype, (), "C", where).item()
    return number


def _path(value: object) -> str:
    return value.function.path if isinstance(value, Call) and isinstance(value.function, Symbol) else ""
