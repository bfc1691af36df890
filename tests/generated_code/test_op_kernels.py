"""
Kernels of single ops against the reference, for one observation and for a block, and what they may touch.
"""

from collections.abc import Iterator

import numpy as np
import pytest

from compiler.ir import Attribute, DType
from compiler.options import LANES
from tests.generated_code.cases import Array, Case, right
from tests.generated_code.harness import Kernels, kernels
from tests.generated_code.nests import compiled_of
from tests.thorough import chosen

FLOAT, DOUBLE, INDEX, BIT = DType.FLOAT32, DType.FLOAT64, DType.INT64, DType.BOOL
WIDTHS = (1, 3, 16, 33)
SIZES: tuple[tuple[int, ...], ...] = ((), (5,), (2, 3, 1, 17), (2, 2, 2, 2), (3, 3, 3, 33, 16, 16))
RNG = np.random.default_rng(3)


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def cases() -> Iterator[Case]:
    for width in WIDTHS:
        yield Case("add", [(FLOAT, (width,)), (FLOAT, (width,))])
        yield Case("affine", [(FLOAT, (width,)), normal(width), normal(width), normal(width)])
        yield Case("bernoulli_mode", [(FLOAT, (width,))])
        yield Case("mask", [(FLOAT, (width,)), (BIT, (width,))])
        yield Case("normalize", [(DOUBLE, (width,)), RNG.normal(size=width), RNG.uniform(0.5, 2, width)], {"clip": 2.0})
        yield Case("prelu", [(FLOAT, (width,)), normal(1)])
        yield Case("prelu", [(FLOAT, (width,)), normal(width)])
        yield Case("reset", [(FLOAT, (width,)), (FLOAT, ())])
        yield Case("lstm_cell", [(FLOAT, (4 * width,)), (FLOAT, (width,))])
        yield Case("lstm_hidden", [(FLOAT, (4 * width,)), (FLOAT, (width,))])
        yield Case("quantile_mean", [(FLOAT, (7 * width,))], {"quantiles": 7})
        yield Case("quantile_mean", [(FLOAT, (width,))], {"quantiles": 1})
        yield Case("lookup", [(INDEX, ()), normal(9, width), normal(width)], {"sizes": (9,)})
        table = normal(24, width)
        attributes: dict[str, Attribute] = {"sizes": (1, 3, 20), "activation": "tanh"}
        yield Case("lookup", [(INDEX, (3,)), table, (FLOAT, (width,))], attributes)
    yield Case("normalize", [(DOUBLE, (2, 3)), RNG.normal(size=(2, 3)), np.ones((2, 3))], {"clip": 10.0})
    yield Case("concat", [(FLOAT, (16,))])
    yield Case("concat", [(FLOAT, (width,)) for width in (3, 17, 1, 16, 16, 2, 33, 15)])
    for sizes in SIZES:
        features = sum(sizes) or 6
        yield Case("argmax", [(FLOAT, (features,))], {"sizes": sizes})
        yield Case("masked_argmax", [(FLOAT, (features,)), (BIT, (features,))], {"sizes": sizes})
        yield Case("softmax", [(FLOAT, (features,))], {"sizes": sizes, "scale": -0.5})
        yield Case("log_softmax", [(FLOAT, (features,))], {"sizes": sizes})
        if sizes:
            yield Case("one_hot", [(INDEX, (len(sizes),))], {"sizes": sizes})
    yield Case("one_hot", [(INDEX, ())], {"sizes": (70,)})


CASES = tuple(cases())
EXACT = ("argmax", "bernoulli_mode", "concat", "mask", "masked_argmax", "normalize", "one_hot")


def inputs_of(case: Case, rng: np.random.Generator, batch: int) -> list[Array]:
    """
    Random values for what each observation has of its own.
    """
    found: list[Array] = []
    for given in case.inputs:
        if isinstance(given, np.ndarray):
            continue
        dtype, shape = given
        if dtype is INDEX:
            sizes = np.asarray(case.attributes["sizes"], np.int64)
            found.append(rng.integers(0, sizes, (batch, len(sizes))).reshape(batch, *shape))
        elif dtype is BIT:
            found.append(rng.integers(0, 2, (batch, *shape)).astype(bool))
        elif shape == ():
            found.append(rng.integers(0, 2, batch).astype(np.float32))
        else:
            found.append((rng.normal(size=(batch, *shape)) * 3).astype(dtype.numpy))
    return found


WAYS = [("plain", lanes) for lanes in LANES] + [("compiled", lanes) for lanes in chosen(LANES, 16)]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]}-{way[1]}")
def found(request, tmp_path_factory) -> Iterator[Kernels]:
    way, lanes = request.param
    folder = tmp_path_factory.mktemp("ops")
    with kernels(compiled_of(CASES, way), lanes, folder, f"{way}_ops_{lanes}", plain=way == "plain") as made:
        yield made


def check(case: Case, found: Array, expected: Array) -> None:
    expected = expected.reshape(found.shape)
    if case.op in EXACT:
        assert np.array_equal(found, expected.astype(np.float32), equal_nan=True), (case, found, expected)
    else:
        assert np.allclose(found, expected, rtol=2e-6, atol=2e-6, equal_nan=True), (case, found, expected)


def check_all(found: Kernels, inputs: list[list[Array]]) -> None:
    """
    All observations of a batch of LANES, one by one and as a block.
    """
    expected = [right(case, arrays)[0] for case, arrays in zip(found.cases, inputs, strict=True)]
    for row in range(found.lanes):
        results = found.one([[array[row] for array in arrays] for arrays in inputs])
        for case, result, answer in zip(found.cases, results, expected, strict=True):
            check(case, result, answer[row])
    for case, result, answer in zip(found.cases, found.block(inputs), expected, strict=True):
        check(case, result, answer)


def test_every_op_against_the_reference(found):
    for seed in range(3):
        rng = np.random.default_rng([seed, found.lanes])
        check_all(found, [inputs_of(case, rng, found.lanes) for case in found.cases])


def test_what_is_not_finite(found):
    rng = np.random.default_rng(found.lanes)
    inputs = [inputs_of(case, rng, found.lanes) for case in found.cases]
    for case, arrays in zip(found.cases, inputs, strict=True):
        if case.op in ("softmax", "log_softmax", "quantile_mean"):
            continue  # NaN for the whole choice or mean, which is tested with policies; infinities overflow
        for array in arrays:
            if array.dtype.kind == "f" and array.ndim > 1:
                special = rng.choice([np.nan, np.inf, -np.inf, 0, -0.0], array.shape)
                array[...] = np.where(rng.random(array.shape) < 0.3, special, array)
    check_all(found, inputs)


def test_indices_that_are_none_touch_nothing_else(found):
    rng = np.random.default_rng(found.lanes)
    for value in (np.nan, -1, 1e30, -1e30, np.inf, 16777216, 2.0**31, 2.0**63):
        inputs = [inputs_of(case, rng, found.lanes) for case in found.cases]
        for case, arrays in zip(found.cases, inputs, strict=True):
            if case.op in ("lookup", "one_hot"):
                arrays[0] = np.full(arrays[0].shape, value)
        single = found.one([[array[0] for array in arrays] for arrays in inputs])
        for case, arrays, one, block in zip(found.cases, inputs, single, found.block(inputs), strict=True):
            if case.op == "one_hot":
                assert not one.any()
                assert not block.any()
            elif case.op == "lookup":
                last = np.subtract(case.attributes["sizes"], 1).reshape(arrays[0].shape[1:])
                nearest = np.where(arrays[0] > 0, np.minimum(arrays[0], last), 0)
                (answer,) = right(case, [nearest.astype(np.int64), *arrays[1:]])
                check(case, one, answer[0])
                check(case, block, answer)
