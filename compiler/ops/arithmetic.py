"""
Arithmetic, comparison, logic and choice between tensors that broadcast, and the cast from one dtype to another.

Numbers of two dtypes meet as float32, or int64 if none of them is float32; bool counts as int64. An integer divided by
zero is 0, where PyTorch raises an error.
"""

from collections.abc import Callable, Sequence

import numpy as np

from compiler.errors import quote
from compiler.ir import DType, Tensor
from compiler.ops.dims import (
    BOOL,
    BYTE,
    FLOAT,
    KINDS,
    broadcast,
    common_kind,
    dims_of,
    need_computed,
    need_kind,
    sample,
)
from compiler.ops.table import Array, Attributes, Op, TensorType, refuse

Reference = Callable[[Array, Array], Array]


def _number(x: Array) -> Array:
    return x.astype(np.int64) if x.dtype == bool else x


def _power(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f" or y.dtype.kind == "f":
        result: Array = np.power(x, y)
        return result
    raised = np.power(x, np.abs(y))
    return np.where((y < 0) & (np.abs(x) != 1), 0, raised)


def _modulo(x: Array, y: Array) -> Array:
    rest = np.fmod(x, y)
    return np.where((rest != 0) & ((y < 0) != (rest < 0)), rest + y, rest)


def _common(op: str) -> Callable[[Sequence[Tensor], Attributes], TensorType]:
    return lambda inputs, attributes: sample(common_kind(op, *inputs), broadcast(op, *inputs))


def _always(op: str, result: DType, allowed: Sequence[DType]) -> Callable[[Sequence[Tensor], Attributes], TensorType]:
    def rule(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
        need_kind(op, allowed, *inputs)
        return sample(result, broadcast(op, *inputs))

    return rule


def _arithmetic(name: str, summary: str, reference: Reference) -> Op:
    return Op(
        name=name,
        summary=summary,
        result=_always(name, FLOAT, KINDS) if name == "over" else _common(name),
        reference=lambda x, y: reference(_number(x), _number(y)),
        arity=2,
        template="nest",
        single=True,
    )


def _comparison(name: str, summary: str, reference: Reference, allowed: Sequence[DType] = KINDS) -> Op:
    return Op(
        name=name,
        summary=summary,
        result=_always(name, BOOL, allowed),
        reference=reference,
        arity=2,
        template="nest",
        single=True,
    )


def _where_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    condition, *choices = inputs
    need_kind("where", (BOOL,), condition)
    need_kind("where", KINDS, *choices)
    kind = BOOL if all(tensor.dtype is BOOL for tensor in choices) else common_kind("where", *choices)
    return sample(kind, broadcast("where", *inputs))


def _cast_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    (source,) = inputs
    need_computed("cast", source)
    need_kind("cast", (*KINDS, BYTE), source)
    dtype = attributes["dtype"]
    if dtype not in tuple(map(str, KINDS)):
        refuse("cast", f"attribute dtype must be {' or '.join(KINDS)}, found {quote(dtype)}")
    return sample(DType(str(dtype)), dims_of("cast", source))


def _cast(x: Array, dtype: str) -> Array:
    return x.astype({"float32": np.float64, "int64": np.int64, "bool": np.bool_}[dtype])


ROWS = (
    _arithmetic("plus", "x + y", np.add),
    _arithmetic("minus", "x - y", np.subtract),
    _arithmetic("times", "x * y", np.multiply),
    _arithmetic("over", "x / y, always float32", np.true_divide),
    _arithmetic("power", "x ** y", _power),
    _arithmetic("largest_of", "torch.maximum: NaN if one of the two is", np.maximum),
    _arithmetic("least_of", "torch.minimum: NaN if one of the two is", np.minimum),
    _arithmetic("modulo", "torch.remainder: with the sign of the divisor", _modulo),
    _arithmetic("floor_over", "torch.floor_divide", np.floor_divide),
    _comparison("equal", "torch.eq", np.equal),
    _comparison("unequal", "torch.ne", np.not_equal),
    _comparison("less", "torch.lt", np.less),
    _comparison("less_equal", "torch.le", np.less_equal),
    _comparison("greater", "torch.gt", np.greater),
    _comparison("greater_equal", "torch.ge", np.greater_equal),
    _comparison("both", "torch.logical_and of bools", np.logical_and, (BOOL,)),
    _comparison("either", "torch.logical_or of bools", np.logical_or, (BOOL,)),
    _comparison("differ", "torch.logical_xor of bools", np.logical_xor, (BOOL,)),
    Op(
        name="where",
        summary="torch.where",
        result=_where_result,
        reference=np.where,
        arity=3,
        template="nest",
        single=True,
    ),
    Op(
        name="cast",
        summary="torch.Tensor.to another dtype: toward zero for int64, x != 0 for bool",
        result=_cast_result,
        reference=_cast,
        attributes={"dtype": str},
        template="nest",
        single=True,
    ),
)
