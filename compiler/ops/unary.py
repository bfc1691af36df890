"""
Functions of each element alone that general models have besides the activations of `elementwise.py`.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from compiler.ir import DType, Tensor
from compiler.ops.dims import BOOL, FLOAT, INTEGER, dims_of, need_computed, need_kind, sample
from compiler.ops.table import Array, Attributes, Op, TensorType

NUMBERS = (FLOAT, INTEGER)


def _sign(x: Array) -> Array:
    result: Array = np.subtract(x > 0, x < 0, dtype=x.dtype)
    return result


def _row(
    name: str,
    summary: str,
    reference: Callable[[Array], Array],
    allowed: Sequence[DType] = (FLOAT,),
    gives: DType | None = None,
) -> Op:
    """
    A row that keeps dims, and the dtype too unless it `gives` another.
    """

    def result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
        (source,) = inputs
        need_computed(name, source)
        need_kind(name, allowed, source)
        return sample(gives or source.dtype, dims_of(name, source))

    return Op(name=name, summary=summary, result=result, reference=reference, template="nest", single=True)


ROWS = (
    _row("negate", "torch.neg", np.negative, NUMBERS),
    _row("absolute", "torch.abs", np.abs, NUMBERS),
    _row("square", "torch.square", np.square, NUMBERS),
    _row("sign", "torch.sign: 0 for NaN", _sign, NUMBERS),
    _row("sqrt", "torch.sqrt", np.sqrt),
    _row("rsqrt", "torch.rsqrt: 1 / sqrt(x)", lambda x: 1 / np.sqrt(x)),
    _row("reciprocal", "torch.reciprocal: 1 / x", lambda x: 1 / x),
    _row("log", "torch.log", np.log),
    _row("log1p", "torch.log1p: log(1 + x)", np.log1p),
    _row("expm1", "torch.expm1: exp(x) - 1", np.expm1),
    _row("sin", "torch.sin", np.sin),
    _row("cos", "torch.cos", np.cos),
    _row("atan", "torch.atan", np.arctan),
    _row("erf", "torch.erf", np.vectorize(math.erf, otypes=[np.float64])),
    _row("floor", "torch.floor", np.floor),
    _row("ceil", "torch.ceil", np.ceil),
    _row("round", "torch.round: half to even", np.rint),
    _row("trunc", "torch.trunc: toward zero", np.trunc),
    _row("not", "torch.logical_not of bools", np.logical_not, (BOOL,)),
    _row("is_nan", "torch.isnan", np.isnan, (FLOAT,), BOOL),
)
