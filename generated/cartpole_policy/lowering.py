"""
The instructions that Numba puts in the place of the words of `simd.py`.

A word is lowered under its own name, where its function is called: no kernel names anything of this module.
"""

import ctypes
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing import templates
from numba.extending import models, register_model

from .simd import (
    LANES,
    ROUND,
    absolute,
    address,
    advance,
    align,
    bounded,
    doubles,
    exponent,
    flags,
    floats,
    fma,
    head,
    integers,
    is_finite,
    load,
    load_byte,
    load_double,
    load_head,
    load_integer,
    load_scalar,
    mantissa,
    octets,
    pointer,
    power_of_two,
    put,
    select,
    skip,
    splat,
    store,
    store_double,
    store_head,
    store_integer,
    store_scalar,
    total,
    transpose_square,
    workspace,
)

Emit = TypeVar("Emit", bound=Callable[..., Any])

# What Numba does not declare types for.
_types: Any = types
_templates: Any = templates
_cgutils: Any = cgutils
_extending: Any = numba.extending

_FLOAT = ir.FloatType()
_DOUBLE = ir.DoubleType()
_INT = ir.IntType(32)
_SHORT = ir.IntType(16)
_LONG = ir.IntType(64)
_BYTE = ir.IntType(8)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INTEGERS = ir.VectorType(_INT, LANES)
_HALVES = (range(LANES // 2), range(LANES // 2, LANES))


class _Register(types.Type):
    """
    A SIMD register as Numba's type system sees it.
    """


_vector = _Register(f"float32x{LANES}")
_mask = _Register(f"maskx{LANES}")
_pointer = _types.CPointer(_types.float32)


@register_model(_Register)
class _RegisterModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        start: Any = super().__init__
        start(manager, kind, _VECTOR if kind == _vector else ir.VectorType(ir.IntType(1), LANES))


class _Buffer(types.Type):
    """
    A Python object that shows its memory through the buffer protocol: an array.
    """


BUFFER = _Buffer("buffer")
"""
What an entry point takes: the address of the object's memory, and how many float32 it holds.

Numba's own arrays would do as well. But to take them costs twice as much per call, and some 40 ms at import: for the
reference counting and the allocation, which kernels have no use for.
"""

NUMBER = _types.intp
"""What an entry point takes as an int."""

_BYTES = _cgutils.voidptr_t
_VIEW = ir.LiteralStructType([_BYTES, _BYTES, _LONG, _LONG, _INT, _INT, _BYTES, _BYTES, _BYTES, _BYTES, _BYTES])
"""Py_buffer: buf, obj, len, itemsize, readonly, ndim, format, shape, strides, suboffsets, internal."""
_CONTIGUOUS_WITH_FORMAT = 0x0008 | 0x0004
"""PyBUF_ND, which without strides means contiguous, and PyBUF_FORMAT."""


@register_model(_Buffer)
class _BufferModel(models.StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        start: Any = super().__init__
        start(manager, kind, [("data", _pointer), ("count", _types.intp), ("format", _types.int16)])


def _unbox(kind: Any, python_object: Any, wrapper: Any) -> Any:
    """
    Any object is taken; one that shows no contiguous row has the count -1.
    """
    builder = wrapper.builder
    view = _cgutils.alloca_once_value(builder, ir.Constant(_VIEW, None))

    def field(place: int) -> Any:
        return builder.load(_cgutils.gep_inbounds(builder, view, 0, place))

    flags = ir.Constant(_INT, _CONTIGUOUS_WITH_FORMAT)
    failed = _call(builder, "PyObject_GetBuffer", _INT, python_object, view, flags)
    value = _cgutils.create_struct_proxy(kind)(wrapper.context, builder)
    value.data, value.count = ir.Constant(_FLOAT.as_pointer(), None), ir.Constant(_LONG, -1)
    value.format = ir.Constant(_SHORT, 0)
    with builder.if_else(builder.icmp_signed("==", failed, ir.Constant(_INT, 0))) as (given, refused):
        with given:
            # The format of native float32 is "f", and nothing after it. No format at all means bytes.
            none = _cgutils.alloca_once_value(builder, ir.Constant(_SHORT, 0))
            written = builder.bitcast(field(6), _SHORT.as_pointer())
            value.format = builder.load(builder.select(_cgutils.is_null(builder, written), none, written), align=1)
            is_row = builder.icmp_signed("==", field(5), ir.Constant(_INT, 1))
            value.data = builder.bitcast(field(0), _FLOAT.as_pointer())
            value.count = builder.select(is_row, field(2), ir.Constant(_LONG, -1))
        with refused:
            wrapper.pyapi.err_clear()

    def release() -> None:
        _call(builder, "PyBuffer_Release", ir.VoidType(), view)

    return _extending.NativeValue(value._getvalue(), cleanup=release)


_extending.unbox(_Buffer)(_unbox)


def _word(function: Any, result: Any, *arguments: Any) -> Callable[[Emit], Emit]:
    """
    Decorates `(builder, *values) -> value`, the instructions for `function` on arguments of these types.
    """

    def decorate(emit: Emit) -> Emit:
        class Template(templates.AbstractTemplate):
            key = function

            def generic(self, given: Any, _: Any) -> Any:
                fits = len(given) == len(arguments) and all(map(_fits, given, arguments))
                return _templates.signature(result, *arguments) if fits else None

        def lower(context: Any, builder: Any, _: Any, values: Any) -> Any:
            value = emit(builder, *values)
            return context.get_dummy_value() if value is None else value

        if getattr(function, "__module__", "") == "_operator":
            _templates.infer_global(function)(Template)  # beside what Numba knows of the operator
        else:
            _templates.infer_global(function, _types.Function(Template))
        _extending.lower_builtin(function, *arguments)(lower)
        return emit

    return decorate


def _fits(have: Any, want: Any) -> bool:
    """
    Whether an argument is of the type, or a number that becomes one.
    """
    return have == want or (isinstance(have, _types.Number | _types.Literal) and isinstance(want, _types.Number))


def _splat(builder: Any, value: Any) -> Any:
    empty = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(_INTEGERS, [0] * LANES))


def _first(builder: Any, count: Any) -> Any:
    """
    The mask of the first `count` lanes.
    """
    places = ir.Constant(ir.VectorType(_LONG, LANES), list(range(LANES)))
    return builder.icmp_signed("<", places, _splat(builder, count))


def _integers(value: int) -> Any:
    return ir.Constant(_INTEGERS, [value] * LANES)


def _whole(builder: Any, value: Any) -> Any:
    """
    An int64 of a float32 that counts something: by way of int32, since small processors know no other conversion.
    """
    return builder.sext(builder.fptosi(value, _INT), _LONG)


def _call(builder: Any, name: str, result: Any, *values: Any) -> Any:
    """
    Calls an LLVM intrinsic function on values.
    """
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(_cgutils.get_or_insert_function(builder.module, kind, name), values)


@_word(load, _vector, _pointer, _types.intp)
def _(builder: Any, source: Any, index: Any) -> Any:
    place = builder.bitcast(builder.gep(source, [index]), _VECTOR.as_pointer())
    return builder.load(place, align=4)


@_word(store, _types.void, _pointer, _types.intp, _vector)
def _(builder: Any, target: Any, index: Any, value: Any) -> None:
    place = builder.bitcast(builder.gep(target, [index]), _VECTOR.as_pointer())
    builder.store(value, place, align=4)


@_word(load_head, _vector, _pointer, _types.intp, _types.intp)
def _(builder: Any, source: Any, index: Any, count: Any) -> Any:
    place = builder.bitcast(builder.gep(source, [index]), _VECTOR.as_pointer())
    nothing = ir.Constant(_VECTOR, [0.0] * LANES)
    name = f"llvm.masked.load.v{LANES}f32.p0"
    return _call(builder, name, _VECTOR, place, ir.Constant(_INT, 4), _first(builder, count), nothing)


@_word(store_head, _types.void, _pointer, _types.intp, _types.intp, _vector)
def _(builder: Any, target: Any, index: Any, count: Any, value: Any) -> None:
    place = builder.bitcast(builder.gep(target, [index]), _VECTOR.as_pointer())
    name = f"llvm.masked.store.v{LANES}f32.p0"
    _call(builder, name, ir.VoidType(), value, place, ir.Constant(_INT, 4), _first(builder, count))


@_word(bounded, _types.intp, _types.float32, _types.intp)
def _(builder: Any, index: Any, count: Any) -> Any:
    nothing, large = ir.Constant(_FLOAT, 0.0), ir.Constant(_FLOAT, 2.0**30)  # what int32 can hold
    index = builder.select(builder.fcmp_ordered(">", index, nothing), index, nothing)
    whole = _whole(builder, builder.select(builder.fcmp_ordered("<", index, large), index, large))
    last = builder.sub(count, ir.Constant(_LONG, 1))
    return builder.select(builder.icmp_signed("<", whole, last), whole, last)


@_word(transpose_square, _types.void, _pointer, _types.intp)
def _(builder: Any, target: Any, index: Any) -> None:
    start = builder.bitcast(builder.gep(target, [index]), _VECTOR.as_pointer())
    places = [builder.gep(start, [ir.Constant(_INT, row)]) for row in range(LANES)]
    rows = [builder.load(place, align=4) for place in places]
    # Dealing two halves of the rows into each other, as often as LANES can be halved, puts every value in its place.
    halves = [[value for lane in half for value in (lane, LANES + lane)] for half in _HALVES]
    for _ in range(LANES.bit_length() - 1):
        pairs = zip(rows[: LANES // 2], rows[LANES // 2 :], strict=True)
        rows = [builder.shuffle_vector(a, b, ir.Constant(_INTEGERS, half)) for a, b in pairs for half in halves]
    for place, row in zip(places, rows, strict=True):
        builder.store(row, place, align=4)


@_word(load_scalar, _types.float32, _pointer, _types.intp)
def _(builder: Any, source: Any, index: Any) -> Any:
    return builder.load(builder.gep(source, [index]))


@_word(store_scalar, _types.void, _pointer, _types.intp, _types.float32)
def _(builder: Any, target: Any, index: Any, value: Any) -> None:
    builder.store(value, builder.gep(target, [index]))


@_word(load_double, _types.float64, _pointer, _types.intp)
def _(builder: Any, source: Any, index: Any) -> Any:
    return builder.load(builder.gep(builder.bitcast(source, _DOUBLE.as_pointer()), [index]))


@_word(store_double, _types.void, _pointer, _types.intp, _types.float64)
def _(builder: Any, target: Any, index: Any, value: Any) -> None:
    builder.store(value, builder.gep(builder.bitcast(target, _DOUBLE.as_pointer()), [index]))


@_word(store_integer, _types.void, _pointer, _types.intp, _types.float32)
def _(builder: Any, target: Any, index: Any, value: Any) -> None:
    builder.store(_whole(builder, value), builder.gep(builder.bitcast(target, _LONG.as_pointer()), [index]))


@_word(advance, _pointer, _pointer, _types.intp)
def _(builder: Any, start: Any, count: Any) -> Any:
    return builder.gep(start, [count])


@_word(skip, _pointer, _pointer, _types.intp)
def _(builder: Any, start: Any, count: Any) -> Any:
    moved = builder.gep(builder.bitcast(start, _BYTE.as_pointer()), [count])
    return builder.bitcast(moved, _FLOAT.as_pointer())


@_word(load_integer, _types.intp, _pointer, _types.intp)
def _(builder: Any, source: Any, index: Any) -> Any:
    return builder.load(builder.gep(builder.bitcast(source, _LONG.as_pointer()), [index]))


@_word(load_byte, _types.intp, _pointer, _types.intp)
def _(builder: Any, source: Any, index: Any) -> Any:
    return builder.zext(builder.load(builder.gep(builder.bitcast(source, _BYTE.as_pointer()), [index])), _LONG)


@_word(pointer, _pointer, _types.intp, _types.intp)
def _(builder: Any, location: Any, count: Any) -> Any:
    return builder.inttoptr(location, _FLOAT.as_pointer())


@_word(workspace, _pointer, _types.intp)
def _(builder: Any, count: Any) -> Any:
    room = builder.alloca(_FLOAT, size=count)
    room.align = 64
    return room


def _counter(function: Any, size: int, letters: str) -> None:
    """
    Lowers a word that counts the elements of a buffer: bytes over `size` if its format is one of these letters.
    """

    @_word(function, _types.intp, BUFFER)
    def count(builder: Any, buffer: Any) -> Any:
        formats = [builder.icmp_unsigned("==", builder.extract_value(buffer, 2), _SHORT(ord(x))) for x in letters]
        found = formats[0]
        for other in formats[1:]:
            found = builder.or_(found, other)
        elements = builder.ashr(builder.extract_value(buffer, 1), _LONG(size.bit_length() - 1))
        return builder.select(found, elements, _LONG(-1))


_counter(floats, 4, "f")
_counter(doubles, 8, "d")
_counter(integers, 8, "l" if ctypes.sizeof(ctypes.c_long) == 8 else "q")
_counter(octets, 1, "B")
_counter(flags, 1, "?")


@_word(address, _pointer, BUFFER)
def _(builder: Any, buffer: Any) -> Any:
    return builder.extract_value(buffer, 0)


@_word(align, _pointer, _pointer)
def _(builder: Any, start: Any) -> Any:
    raised = builder.add(builder.ptrtoint(start, _LONG), ir.Constant(_LONG, 63))
    return builder.inttoptr(builder.and_(raised, ir.Constant(_LONG, -64)), _FLOAT.as_pointer())


@_word(splat, _vector, _types.float32)
def _(builder: Any, value: Any) -> Any:
    return _splat(builder, value)


@_word(fma, _vector, _vector, _vector, _vector)
def _(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _call(builder, f"llvm.fma.v{LANES}f32", _VECTOR, a, b, c)


@_word(select, _vector, _mask, _vector, _vector)
def _(builder: Any, mask: Any, chosen: Any, otherwise: Any) -> Any:
    return builder.select(mask, chosen, otherwise)


@_word(absolute, _vector, _vector)
def _(builder: Any, value: Any) -> Any:
    return _call(builder, f"llvm.fabs.v{LANES}f32", _VECTOR, value)


@_word(power_of_two, _vector, _vector)
def _(builder: Any, whole: Any) -> Any:
    bits = builder.bitcast(builder.fadd(whole, ir.Constant(_VECTOR, [ROUND] * LANES)), _INTEGERS)
    return builder.bitcast(builder.shl(builder.add(bits, _integers(127)), _integers(23)), _VECTOR)


@_word(exponent, _vector, _vector)
def _(builder: Any, value: Any) -> Any:
    bits = builder.ashr(builder.bitcast(value, _INTEGERS), _integers(23))
    return builder.sitofp(builder.sub(bits, _integers(127)), _VECTOR)


@_word(mantissa, _vector, _vector)
def _(builder: Any, value: Any) -> Any:
    bits = builder.and_(builder.bitcast(value, _INTEGERS), _integers(0x7FFFFF))
    return builder.bitcast(builder.or_(bits, _integers(0x3F800000)), _VECTOR)


@_word(head, _vector, _vector, _types.intp)
def _(builder: Any, value: Any, count: Any) -> Any:
    return builder.select(_first(builder, count), value, ir.Constant(_VECTOR, [0.0] * LANES))


@_word(put, _vector, _vector, _types.intp, _types.float32)
def _(builder: Any, value: Any, lane: Any, scalar: Any) -> Any:
    return builder.insert_element(value, scalar, lane)


@_word(total, _types.float32, _vector)
def _(builder: Any, value: Any) -> Any:
    count = LANES
    while count > 1:
        count //= 2
        halves = [[first + lane for lane in range(count)] for first in (0, count)]
        kind = ir.VectorType(_INT, count)
        low, high = (builder.shuffle_vector(value, value, ir.Constant(kind, half)) for half in halves)
        value = builder.fadd(low, high)
    return builder.extract_element(value, ir.Constant(_INT, 0))


@_word(is_finite, _types.boolean, _vector)
def _(builder: Any, value: Any) -> Any:
    difference = builder.fsub(value, value)  # 0 for finite values, NaN for all others
    ordered = builder.fcmp_ordered("ord", difference, difference)
    bits = builder.bitcast(ordered, ir.IntType(LANES))
    return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, -1))


def _operator(function: Any, instruction: Any, result: Any) -> None:
    """
    Lowers an operator between two vectors, or a vector and a number on either side.
    """

    @_word(function, result, _vector, _vector)
    def both(builder: Any, a: Any, b: Any) -> Any:
        return instruction(builder, a, b)

    @_word(function, result, _vector, _types.float32)
    def left(builder: Any, a: Any, b: Any) -> Any:
        return instruction(builder, a, _splat(builder, b))

    @_word(function, result, _types.float32, _vector)
    def right(builder: Any, a: Any, b: Any) -> Any:
        return instruction(builder, _splat(builder, a), b)


_operator(operator.add, lambda builder, a, b: builder.fadd(a, b), _vector)
_operator(operator.sub, lambda builder, a, b: builder.fsub(a, b), _vector)
_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b), _vector)
_operator(operator.truediv, lambda builder, a, b: builder.fdiv(a, b), _vector)
_operator(operator.lt, lambda builder, a, b: builder.fcmp_ordered("<", a, b), _mask)
_operator(operator.gt, lambda builder, a, b: builder.fcmp_ordered(">", a, b), _mask)
_operator(operator.eq, lambda builder, a, b: builder.fcmp_ordered("==", a, b), _mask)
_operator(operator.le, lambda builder, a, b: builder.fcmp_ordered("<=", a, b), _mask)


@_word(operator.neg, _vector, _vector)
def _(builder: Any, value: Any) -> Any:
    return builder.fneg(value)
