"""
NumPy values as NumPy itself pickles them, and the lies that a pickle can tell about them.
"""

import pickle
import warnings

import numpy as np
import pytest

from compiler.errors import CheckpointError
from compiler.readers.numpy_values import as_array, as_bytes, as_dtype, as_scalar
from compiler.readers.pickle_machine import decode
from tests.hostile.assemble import Call, Global, assemble
from tests.hostile.policies import array, dtype

CODES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">f4", ">f8", ">i2", ">u8"]
PROTOCOLS = [2, 3, 4, 5]


def through(value: object, protocol: int) -> object:
    return decode(pickle.dumps(value, protocol), "x")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("code", CODES)
def test_arrays_of_every_type_and_layout(code: str, protocol: int) -> None:
    base = (np.arange(24).reshape(2, 3, 4) % 5 - 1).astype(code)
    layouts = [
        base,
        np.asfortranarray(base),
        base.transpose(1, 0, 2),
        base[:, ::2],
        base[:0],
        base[0, 0, 0:1].reshape(()),
    ]
    for value in layouts:
        result = as_array(through(value, protocol), "x")
        assert np.array_equal(result, value)
        assert result.shape == value.shape
        assert result.dtype == value.dtype.newbyteorder("=")
        assert result.dtype.isnative
        assert result.flags.c_contiguous
        assert not result.flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("code", CODES)
def test_dtypes_and_scalars(code: str, protocol: int) -> None:
    assert as_dtype(through(np.dtype(code), protocol), "x") == np.dtype(code)
    for number in (0, 1, 100):
        scalar = np.array(number, code)[()]
        result = as_scalar(through(scalar, protocol), "x")
        assert result == scalar
        assert type(result) is type(scalar.item())


def test_plain_python_numbers_are_scalars_and_names_are_dtypes() -> None:
    assert [as_scalar(value, "x") for value in (True, 3, 0.5)] == [True, 3, 0.5]
    assert as_dtype("float32", "x") == np.float32
    assert as_dtype(through(np.float64, 2), "x") == np.float64
    assert as_dtype(through(np.bool_, 4), "x") == np.bool_


def test_modules_of_numpy_1() -> None:
    old = Call(Global("numpy.core.multiarray", "_reconstruct"), (Global("numpy", "ndarray"), (0,), b"b"))
    value = Call(old.function, old.arguments, state=(1, (2,), dtype("f8"), False, np.array([1.0, 2.0]).tobytes()))
    assert as_array(decode(assemble(value), "x"), "x").tolist() == [1, 2]
    scalar = Call(Global("numpy.core.multiarray", "scalar"), (dtype("i8"), (7).to_bytes(8, "little")))
    assert as_scalar(decode(assemble(scalar), "x"), "x") == 7


def test_booleans_are_made_valid() -> None:
    value = Call(array(np.zeros(3, np.bool_)).function, (b"\x00\x02\xff", dtype("b1"), (3,), "C"))
    assert as_array(decode(assemble(value, 4), "x"), "x").view(np.uint8).tolist() == [0, 1, 1]


def frombuffer(*arguments: object) -> Call:
    return Call(Global("numpy._core.numeric", "_frombuffer"), arguments)


def reconstruct(state: object, kind: object = None) -> Call:
    kind = Global("numpy", "ndarray") if kind is None else kind
    return Call(Global("numpy._core.multiarray", "_reconstruct"), (kind, (0,), b"b"), state)


SYSTEM = Call(Global("posix", "system"), ("true",))
F4 = dtype("f4")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (SYSTEM, "posix.system"),
        (3, "expected a NumPy array, found 3"),
        (frombuffer(bytes(8), F4, (3,), "C"), "needs 12 bytes, not 8"),
        (frombuffer(bytes(8), F4, (1,), "C"), "needs 4 bytes, not 8"),
        (frombuffer(bytes(8), F4, (-2,), "C"), "impossible shape"),
        (frombuffer(bytes(8), F4, (True, 2), "C"), "impossible shape"),
        (frombuffer(bytes(8), F4, (2.0,), "C"), "impossible shape"),
        (frombuffer(bytes(8), F4, 2, "C"), "expected a shape"),
        (frombuffer(b"", F4, (0, 1 << 62, 1 << 62), "C"), "beyond all memory"),
        (frombuffer(b"", F4, (0,) * 40, "C"), "expected a shape"),
        (frombuffer(bytes(8), F4, (2,), "Z"), "unknown order str 'Z'"),
        (frombuffer(bytes(8), F4, (2,), SYSTEM), "posix.system"),
        (frombuffer(bytes(8), F4, (1, 2), "K", (0, 0)), "order of axes"),
        (frombuffer(bytes(8), F4, (1, 2), "K", (0, 5)), "order of axes"),
        (frombuffer(bytes(8), F4, (1, 2), "C", (0, 1)), "damaged"),
        (frombuffer(bytes(8), F4, (2,)), "damaged"),
        (frombuffer(SYSTEM, F4, (2,), "C"), "posix.system"),
        (frombuffer(bytes(8), SYSTEM, (2,), "C"), "posix.system"),
        (frombuffer(bytes(16), dtype("O8"), (2,), "C"), "O8"),
        (frombuffer(bytes(16), dtype("c8"), (2,), "C"), "c8"),
        (frombuffer(bytes(16), dtype("V8"), (2,), "C"), "V8"),
        (frombuffer(bytes(16), Call(F4.function, ("f4",), SYSTEM), (4,), "C"), "posix.system"),
        (reconstruct((1, (2,), F4, False, [1, 2])), "expected bytes, found a list"),
        (reconstruct((1, (2,), F4, False)), "damaged"),
        (reconstruct((1, (2,), F4, SYSTEM, bytes(8))), "damaged"),
        (reconstruct((1, (2,), F4, False, bytes(8)), Global("mine", "Array")), "mine.Array"),
        (reconstruct(None), "damaged"),
        (reconstruct((1, (2,), F4, False, Call(Global("_codecs", "encode"), ("ab", "rot13")))), "_codecs.encode"),
        (reconstruct((1, (2,), F4, False, Call(Global("_codecs", "encode"), ("\u1234", "latin1")))), "above 255"),
    ],
)
def test_refuses_lies_and_names_foreign_globals(value: object, words: str) -> None:
    with pytest.raises(CheckpointError, match=f"x: .*{words}"):
        as_array(decode(assemble(value), "x"), "x")


def test_refuses_what_is_no_scalar_dtype_or_bytes() -> None:
    system = decode(assemble(SYSTEM), "x")
    for interpret in (as_scalar, as_dtype, as_bytes, as_array):
        with pytest.raises(CheckpointError, match=r"posix\.system"):
            interpret(system, "x")
    with pytest.raises(CheckpointError, match="needs 4 bytes"):
        as_scalar(decode(assemble(Call(Global("numpy.core.multiarray", "scalar"), (F4, b"abc"))), "x"), "x")


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([None]), np.zeros(2, "M8[s]"), np.zeros(2, [("a", "f4")])])
def test_refuses_types_that_are_not_numbers(value: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoded = through(value, 4)
    with pytest.raises(CheckpointError):
        as_array(decoded, "x")
