"""
Rows of general models against torch: torch computes each sample alone, the reference all samples at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from compiler.errors import UnsupportedError
from compiler.ir import BATCH, Attribute, DType, Shape, Tensor
from compiler.ops import OPS

Array: TypeAlias = NDArray[Any]

SAMPLES = 3
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -3.5, 7.0, -2.0, 1e300, 5e-324])
KINDS = {"f": DType.FLOAT32, "i": DType.INT64, "b": DType.BOOL}


@dataclass(frozen=True)
class Constant:
    """
    An input that is the same for all samples, of its plain shape.
    """

    data: Array


Input: TypeAlias = Array | Constant


def normal(*dims: int, seed: int = 0) -> NDArray[np.float64]:
    """
    Samples of random values.
    """
    return np.random.default_rng([seed, *dims]).normal(size=(SAMPLES, *dims))


def integers(*dims: int, low: int = -3, high: int = 4, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng([seed, *dims]).integers(low, high, (SAMPLES, *dims))


def bools(*dims: int, seed: int = 0) -> NDArray[np.bool_]:
    return integers(*dims, low=0, high=2, seed=seed).astype(bool)


def constant(*dims: int, seed: int = 1) -> Constant:
    return Constant(normal(*dims, seed=seed)[0])


def specials(*dims: int) -> NDArray[np.float64]:
    """
    Samples of NaN, infinities, zeros of both signs and others, in every sample in another order.
    """
    size = int(np.prod(dims))
    return np.stack([np.resize(np.roll(SPECIAL, 4 * sample), size).reshape(dims) for sample in range(SAMPLES)])


def reference(op: str, inputs: Sequence[Input], **attributes: Attribute) -> tuple[Array, ...]:
    """
    What the row computes, whose types must be those that its shape rule infers.
    """
    row = OPS[op]
    complete = row.complete(attributes)
    tensors, arrays = [], []
    for place, given in enumerate(inputs):
        array = given.data if isinstance(given, Constant) else given
        kind = KINDS[array.dtype.kind]
        if isinstance(given, Constant):
            with np.errstate(over="ignore"):
                tensors.append(Tensor.constant(str(place), np.asarray(array, kind.numpy)))
        else:
            tensors.append(Tensor(str(place), kind, (BATCH, *array.shape[1:])))
        arrays.append(array)
    with np.errstate(all="ignore"):
        results = row.evaluate(arrays, complete)
    types = row.infer(tensors, complete)
    assert [(kind.dtype, kind.shape) for kind in types] == [
        (KINDS[result.dtype.kind], (BATCH, *result.shape[1:])) for result in results
    ]
    assert {len(result) for result in results} == {SAMPLES}
    return results


def by_torch(function: Callable[..., torch.Tensor], inputs: Sequence[Input]) -> Array:
    """
    What torch computes of each sample.
    """
    results = []
    for sample in range(SAMPLES):
        arrays = [given.data if isinstance(given, Constant) else given[sample] for given in inputs]
        results.append(function(*(torch.tensor(array) for array in arrays)).numpy())
    return np.stack(results)


def compare(
    op: str,
    inputs: Sequence[Input],
    function: Callable[..., torch.Tensor],
    tolerance: float = 1e-12,
    **attributes: Attribute,
) -> None:
    """
    Demands that the row computes what the function does: the same where the tolerance is 0, signs of zeros too.
    """
    (found,) = reference(op, inputs, **attributes)
    right = by_torch(function, inputs)
    assert found.dtype.kind == right.dtype.kind
    np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance)
    if not tolerance and found.dtype.kind == "f":
        kept = ~np.isnan(right)
        assert np.array_equal(np.signbit(found[kept]), np.signbit(right[kept]))


def tensor(shape: Shape, kind: DType = DType.FLOAT32, data: Array | None = None) -> Tensor:
    return Tensor("x", kind, shape, data)


def refused(op: str, inputs: Sequence[Tensor | Shape], message: str, **attributes: Attribute) -> None:
    """
    Demands that the row refuses these inputs, of float32 where only a shape is given.
    """
    tensors = [given if isinstance(given, Tensor) else tensor(given) for given in inputs]
    with pytest.raises(UnsupportedError, match=message):
        OPS[op].infer(tensors, OPS[op].complete(attributes))
