"""
The kernels of general ops that rearrange elements or compute them one by one, against the reference.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from compiler.ir import DType
from tests.generated_code.cases import Array, Case, right
from tests.generated_code.nests import Nests, compiled_of, nests, random_inputs
from tests.thorough import chosen

FLOAT, INTEGER, BOOL = DType.FLOAT32, DType.INT64, DType.BOOL
RNG = np.random.default_rng(5)
WAYS = [
    *(("plain", lanes) for lanes in chosen((1, 4, 16), 1, 16)),
    *(("compiled", lanes) for lanes in chosen((1, 4, 8, 16), 16)),
]


def normal(*dims: int) -> Array:
    return RNG.normal(size=dims).astype(np.float32)


def rearranging() -> Iterator[Case]:
    def exact(op: str, inputs: list[Any], **attributes: Any) -> Case:
        return Case(op, inputs, attributes, exact=True)

    for dims, order in [((2, 3), (1, 0)), ((5, 1, 17), (2, 1, 0)), ((2, 3, 4, 5), (0, 2, 1, 3)), ((3, 33), (0, 1))]:
        yield exact("permute", [(FLOAT, dims)], order=order)
    yield exact("permute", [(INTEGER, (2, 3, 19))], order=(2, 0, 1))
    yield exact("expand", [(FLOAT, (1, 3, 1, 7))], shape=(2, 3, 5, 7))
    yield exact("expand", [(FLOAT, (3, 1))], shape=(3, 33))
    yield exact("expand", [(FLOAT, (1, 1))], shape=(1, 1))
    yield exact("slice", [(FLOAT, (4, 9, 5))], axis=1, start=2, stop=9, step=3)
    yield exact("slice", [(FLOAT, (70,))], axis=0, start=1, stop=70, step=2)
    yield exact("slice", [(BOOL, (2, 40))], axis=1, start=3, stop=37, step=1)
    yield exact("flip", [(FLOAT, (3, 4, 21))], axes=(0, 2))
    yield exact("flip", [(FLOAT, (3, 4))], axes=(0,))
    yield exact("join", [(FLOAT, (2, 3, 5)), (FLOAT, (2, 1, 5)), normal(2, 4, 5)], axis=1)
    yield exact("join", [(FLOAT, (5, 1)), (FLOAT, (5, 17)), (FLOAT, (5, 1))], axis=1)
    yield exact("join", [(INTEGER, (3,)), np.array([5, -2])], axis=0)
    yield exact("join", [(BOOL, (3,)), np.array([True, False])], axis=0)
    yield exact("surround", [(FLOAT, (3, 5))], before=(1, 2), after=(0, 17), value=-1.5)
    yield exact("surround", [(FLOAT, (3, 5))], before=(0, 0), after=(0, 0), value=0.0)
    yield exact("surround", [(FLOAT, (2, 1))], before=(0, 1), after=(1, 0), value=-np.inf)
    yield Case("embedding", [(INTEGER, (3, 2)), normal(7, 19)], low=-2, exact=True)
    yield Case("embedding", [(INTEGER, ()), normal(5)], low=0, exact=True)
    yield Case("embedding", [(INTEGER, (4,)), RNG.integers(-9, 9, (6, 3, 2))], low=0, exact=True)
    yield exact("take", [(FLOAT, (3, 6, 5)), np.array([5, 0, 1, 1])], axis=1)
    yield exact("take", [(FLOAT, (3, 6)), np.array([5, 0, 3, 3, 2])], axis=1)
    yield exact("take", [(FLOAT, (3, 6)), np.array([4])], axis=1)
    yield exact("take", [(INTEGER, (30,)), np.arange(29, 0, -2)], axis=0)
    yield exact("gather", [(FLOAT, (3, 6, 5)), (INTEGER, (2, 4, 5))], axis=1)
    yield exact("gather", [(FLOAT, (7,)), RNG.integers(0, 7, 20)], axis=0)
    yield exact("gather", [normal(4, 3), (INTEGER, (2, 3))], axis=0)


PAIRED = ("power", "modulo", "floor_over")
SPECIAL = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -7.25, np.inf, -np.inf, np.nan)
PAIRS = tuple((x, y) for x in SPECIAL for y in SPECIAL)
SHAPES = [
    ((33,), (33,)),
    ((2, 3, 20), (2, 1, 20)),
    ((4, 1), (1, 18)),
    ((3, 5, 7), (1, 1, 1)),
    ((), ()),
    ((2, 3, 17), normal(17)),
    ((2, 3, 17), normal(3, 1)),
    ((2, 3, 17), np.asarray(np.float32(2.5))),
]


def computed(op: str, **more: Any) -> Iterator[Case]:
    for left, right_ in SHAPES:
        given: Any = right_ if isinstance(right_, np.ndarray) else (FLOAT, right_)
        yield Case(op, [(FLOAT, left), given], **more)


def elements() -> Iterator[Case]:
    for op in ("negate", "absolute", "square", "sign"):
        yield Case(op, [(FLOAT, (3, 11))], exact=True)
        yield Case(op, [(INTEGER, (3, 11))], exact=True)
    for op in ("floor", "ceil", "round", "trunc", "is_nan"):
        yield Case(op, [(FLOAT, (3, 11))], exact=True)
    for op in (
        "sqrt",
        "rsqrt",
        "reciprocal",
        "log",
        "log1p",
        "expm1",
        "sin",
        "cos",
        "atan",
        "erf",
        "relu",
        "tanh",
        "silu",
    ):
        yield Case(op, [(FLOAT, (3, 11))])
    yield Case("hardtanh", [(FLOAT, (2, 2, 9))], {"min_val": -0.5, "max_val": 1.0}, exact=True)
    yield Case("gelu", [(FLOAT, (5,))], {"approximate": "tanh"})
    yield Case("not", [(BOOL, (3, 11))], exact=True)
    for op in ("plus", "minus", "times", "over", "largest_of", "least_of"):
        yield from computed(op)
    for op in ("modulo", "floor_over"):
        yield from computed(op)
        yield Case(op, [(INTEGER, (40,)), (INTEGER, (40,))], exact=True)
        yield Case(op, [(INTEGER, (3, 5)), np.array([3, -2, 5, 7, -1])], exact=True)
    yield from computed("power", low=0.1)
    yield Case("power", [(FLOAT, (40,)), RNG.integers(-3, 4, 40).astype(np.float32)])
    yield Case("power", [(INTEGER, (9,)), np.arange(9) % 5], exact=True)
    yield Case("power", [(INTEGER, (40,)), (INTEGER, (40,))], low=-5, high=5, exact=True)
    for whole in (-1, 2, 3):
        yield Case("power", [(INTEGER, (17,)), np.asarray(whole)], exact=True)
    for op in PAIRED:
        yield Case(op, [(FLOAT, (len(PAIRS),)), (FLOAT, (len(PAIRS),))], exact=op != "power")
    for exponent in (-2.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0):
        yield Case("power", [(FLOAT, (17,)), np.asarray(np.float32(exponent))], low=0.01)
    for op in ("equal", "unequal", "less", "less_equal", "greater", "greater_equal"):
        yield from computed(op, exact=True)
        yield Case(op, [(INTEGER, (2, 40)), (INTEGER, (2, 1))], exact=True)
        yield Case(op, [(INTEGER, (2, 40)), np.arange(40) % 7], exact=True)
    for op in ("both", "either", "differ"):
        yield Case(op, [(BOOL, (40,)), (BOOL, (40,))], exact=True)
        yield Case(op, [(BOOL, (3, 20)), RNG.integers(0, 2, 20).astype(bool)], exact=True)
    yield Case("where", [(BOOL, (3, 1, 20)), (FLOAT, (3, 2, 20)), np.asarray(np.float32(-np.inf))], exact=True)
    yield Case("where", [RNG.integers(0, 2, (4, 4)).astype(bool), (FLOAT, (1, 4)), (FLOAT, (4, 1))], exact=True)
    yield Case("where", [(BOOL, (9,)), (INTEGER, (9,)), np.asarray(3)], exact=True)
    yield Case("plus", [(BOOL, (9,)), (INTEGER, (9,))], exact=True)
    for source in (FLOAT, INTEGER, BOOL):
        for dtype in ("float32", "int64", "bool"):
            yield Case("cast", [(source, (3, 7))], {"dtype": dtype}, exact=True)


CASES = (*rearranging(), *elements())


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]}-{way[1]}")
def found(request, tmp_path_factory) -> Iterator[Nests]:
    way, lanes = request.param
    folder = tmp_path_factory.mktemp("nests")
    with nests(compiled_of(CASES, way), lanes, folder, f"{way}_nests_{lanes}", plain=way == "plain") as made:
        yield made


def check(case: Case, results: list[Array], answers: list[Array], tolerance: float = 2e-6) -> None:
    for result, answer in zip(results, answers, strict=True):
        expected = answer.reshape(-1)
        if case.exact:
            assert np.array_equal(result, expected.astype(np.float32), equal_nan=True), (case, result, expected)
        else:
            scale = tolerance * max(1, np.abs(expected[np.isfinite(expected)]).max(initial=0))
            assert np.allclose(result, expected, rtol=5 * tolerance, atol=scale, equal_nan=True), (
                case,
                result,
                expected,
            )


def check_all(found: Nests, inputs: list[list[Array]], tolerance: float = 2e-6) -> None:
    """
    All samples of a batch, one by one.
    """
    expected = [right(case, arrays) for case, arrays in zip(found.cases, inputs, strict=True)]
    for row in range(len(expected[0][0])):
        results = found.run([[array[row] for array in arrays] for arrays in inputs])
        for case, result, answers in zip(found.cases, results, expected, strict=True):
            check(case, result, [answer[row] for answer in answers], tolerance)


def test_every_kernel_against_the_reference(found):
    rng = np.random.default_rng(1)
    check_all(found, [random_inputs(case, rng, 3) for case in found.cases])


def test_what_is_not_finite(found):
    rng = np.random.default_rng(2)
    inputs = [random_inputs(case, rng, 2) for case in found.cases]
    for case, arrays in zip(found.cases, inputs, strict=True):
        if case.op in ("power", "modulo", "floor_over", "cast", "sin", "cos"):
            continue  # see below; no number of another dtype is NaN, and no sine is known of infinity
        for array in arrays:
            if array.dtype.kind == "f":
                special = rng.choice([np.nan, np.inf, -np.inf, 0, -0.0], array.shape)
                array[...] = np.where(rng.random(array.shape) < 0.3, special, array)
    check_all(found, inputs)


def test_powers_and_remainders_of_special_values(found):
    rng = np.random.default_rng(3)
    inputs = [random_inputs(case, rng, 1) for case in found.cases]
    for case, arrays in zip(found.cases, inputs, strict=True):
        if case.op in PAIRED and arrays[0].shape == (1, len(PAIRS)):
            for array, side in zip(arrays, np.array(PAIRS, np.float32).T, strict=True):
                array[0] = side
    check_all(found, inputs)
