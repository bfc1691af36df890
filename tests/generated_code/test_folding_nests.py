"""
The kernels of general ops that bring many elements together, against the reference.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.codegen import dense_over_kernels
from compiler.ir import DType
from tests.generated_code.cases import Array, Case
from tests.generated_code.nests import Nests, compiled_of, nests, random_inputs
from tests.generated_code.test_nests import WAYS, check_all, normal

FLOAT, INTEGER, BOOL = DType.FLOAT32, DType.INT64, DType.BOOL
DIMS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((5,), (0,)),
    ((3, 70), (1,)),
    ((3, 70), (0,)),
    ((2, 3, 4, 17), (0, 2)),
    ((2, 3, 4, 5), (1, 2, 3)),
    ((2, 3, 4, 5), (1, 3)),
    ((1, 1, 133), (2,)),
    ((4, 1), (0,)),
)
AXES: tuple[tuple[tuple[int, ...], int], ...] = (
    ((33,), 0),
    ((3, 5, 20), 0),
    ((2, 5, 20), 1),
    ((3, 2, 7), 2),
    ((4, 1), 1),
)
PRODUCTS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((3, 5), (5, 4)),
    ((1, 70), (70, 133)),
    ((13, 7), (7, 65)),
    ((2, 3, 9, 4), (2, 3, 4, 16)),
    ((2, 1, 5, 4), (1, 3, 4, 6)),
    ((4, 1), (1, 1)),
)

LAYERS: tuple[tuple[tuple[int, ...], int, int], ...] = (
    ((5,), 3, 16),
    ((3, 16), 17, 32),
    ((2, 5, 33), 9, 16),
    ((9, 1), 55, 48),
    ((40, 7), 30, 16),
)
"""The source of a packed layer, its outputs, and how many of them lie side by side."""


def reductions() -> Iterator[Case]:
    for dims, axes in DIMS:
        for op in ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_product"):
            yield Case(op, [(FLOAT, dims)], {"axes": axes, "keep": op == "reduce_min"}, low=-1.5, high=1.5)
        for op in ("reduce_any", "reduce_all"):
            yield Case(op, [(BOOL, dims)], {"axes": axes, "keep": False}, exact=True)
        yield Case("reduce_sum", [(INTEGER, dims)], {"axes": axes, "keep": True}, exact=True)
        yield Case("reduce_max", [(INTEGER, dims)], {"axes": axes, "keep": True}, exact=True)
    for dims, axis in AXES:
        yield Case("index_of_max", [(FLOAT, dims)], {"axis": axis, "keep": False}, exact=True)
        yield Case("index_of_min", [(INTEGER, dims)], {"axis": axis, "keep": True}, exact=True)
        yield Case("running_sum", [(FLOAT, dims)], {"axis": axis})
        yield Case("running_sum", [(BOOL, dims)], {"axis": axis}, exact=True)


def norms() -> Iterator[Case]:
    for dims, axis in AXES:
        yield Case("softmax_over", [(FLOAT, dims)], {"axis": axis})
        yield Case("log_softmax_over", [(FLOAT, dims)], {"axis": axis})
    for dims, count in (((3, 5), 1), ((2, 3, 70), 1), ((2, 3, 7), 2), ((133,), 1), ((2, 16), 1)):
        size = dims[len(dims) - count :]
        yield Case("layer_norm", [(FLOAT, dims), normal(*size), normal(*size)], {"count": count, "epsilon": 1e-5})
        yield Case("rms_norm", [(FLOAT, dims), normal(*size)], {"count": count, "epsilon": 1e-6})
    for dims, groups in (((1, 6, 5, 5), 2), ((2, 4, 3), 4), ((1, 20), 1), ((1, 8, 1, 17), 4)):
        yield Case("group_norm", [(FLOAT, dims), normal(dims[1]), normal(dims[1])], {"groups": groups, "epsilon": 1e-5})


def products() -> Iterator[Case]:
    for left, right in PRODUCTS:
        yield Case("matmul", [(FLOAT, left), (FLOAT, right)])
    yield Case("matmul", [normal(7, 9), (FLOAT, (9, 20))])
    yield Case("matmul", [(FLOAT, (2, 7, 9)), normal(1, 9, 20)])
    for dims, outputs, width in LAYERS:
        room = -(-outputs // width) * width
        constants = [normal(room // width, dims[-1], width), normal(room)]
        yield Case("dense_over", [(FLOAT, dims), *constants], {"outputs": outputs})
        for activation in ("relu", "sigmoid"):  # applied in registers, and afterwards
            attributes = {"outputs": outputs, "activation": activation}
            yield Case("dense_over", [(FLOAT, dims), *constants, (FLOAT, (*dims[:-1], outputs))], attributes)


CASES = (*reductions(), *norms(), *products())


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]}-{way[1]}")
def found(request, tmp_path_factory) -> Iterator[Nests]:
    way, lanes = request.param
    folder = tmp_path_factory.mktemp("folding")
    with nests(compiled_of(CASES, way), lanes, folder, f"{way}_folding_{lanes}", plain=way == "plain") as made:
        yield made


def test_every_kernel_against_the_reference(found):
    rng = np.random.default_rng(1)
    check_all(found, [random_inputs(case, rng, 2) for case in found.cases], tolerance=1e-5)


def with_special(case: Case, arrays: list[Array], rng: np.random.Generator, special: list[Any]) -> list[Array]:
    for array in arrays:
        if array.dtype.kind == "f":
            array[...] = np.where(rng.random(array.shape) < 0.1, rng.choice(special, array.shape), array)
    return arrays


def test_what_is_not_finite(found):
    rng = np.random.default_rng(2)
    for special in ([np.nan], [np.inf, -np.inf], [-np.inf, 0.0]):
        inputs = [with_special(case, random_inputs(case, rng, 2), rng, special) for case in found.cases]
        check_all(found, inputs, tolerance=1e-5)


@pytest.mark.parametrize("way", ["plain", "compiled"])
def test_weights_that_are_asked_for_before_they_are_needed(way, tmp_path, monkeypatch):
    monkeypatch.setattr(dense_over_kernels, "STREAMED", 1)
    cases = [
        Case("dense_over", [(FLOAT, (9, 6)), normal(3, 6, 16), normal(48)], {"outputs": 40 + more}) for more in (0, 8)
    ]
    with nests(cases, 16, tmp_path, f"{way}_asking", plain=way == "plain") as made:
        assert Path(str(made.module.__file__)).read_text().count("prefetch(weight, ahead)") >= len(cases)
        check_all(made, [random_inputs(case, np.random.default_rng(3), 1) for case in cases], tolerance=1e-5)
