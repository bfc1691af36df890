"""
The kernels of attention, of recurrent layers and of orders, against the reference.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from compiler.ir import DType
from compiler.ops import OPS
from compiler.ops.sequence import pack_recurrence
from tests.generated_code import test_folding_nests, test_image_nests, test_nests, test_winograd_nests
from tests.generated_code.cases import Case
from tests.generated_code.nests import Nests, compiled_of, nests, random_inputs
from tests.generated_code.test_nests import WAYS, check_all, normal

FLOAT = DType.FLOAT32


def attentions() -> Iterator[Case]:
    for batch, count, length, width, wide in (
        ((), 3, 3, 4, 4),
        ((2,), 5, 20, 17, 3),
        ((1, 2), 18, 18, 3, 20),
        ((1,), 1, 1, 1, 1),
        ((2, 1), 2, 40, 70, 16),
    ):
        given = [(FLOAT, (*batch, count, width)), (FLOAT, (*batch, length, width)), (FLOAT, (*batch, length, wide))]
        scores = (*batch, count, length)
        yield Case("attention", given, {"scale": 0.25, "causal": False})
        yield Case("attention", given, {"scale": 1.0, "causal": True})
        yield Case("attention", [*given, (FLOAT, scores)], {"scale": 0.5, "causal": False})
        yield Case("attention", [*given, (FLOAT, (*(1 for _ in batch), 1, length))], {"scale": 0.5, "causal": True})
        yield Case("attention", [*given, normal(*(1 for _ in batch), count, 1)], {"scale": 0.5, "causal": False})
        masked = np.where(np.random.default_rng(3).random(scores) < 0.6, -np.inf, 0).astype(np.float32)
        masked[..., 0, :] = -np.inf
        yield Case("attention", [*given, masked], {"scale": 0.5, "causal": False})
    for batch, count, length, width, wide in (((2,), 5, 20, 17, 3), ((1,), 1, 1, 1, 1), ((1, 2), 13, 150, 5, 70)):
        given = [(FLOAT, (*batch, count, width)), (FLOAT, (*batch, width, length)), (FLOAT, (*batch, length, wide))]
        yield Case("attention", given, {"scale": 0.25, "causal": False, "turned": True})
        yield Case("attention", given, {"scale": 1.0, "causal": True, "turned": True})
        masked = np.where(np.random.default_rng(4).random((count, length)) < 0.6, -np.inf, 0).astype(np.float32)
        masked[0] = -np.inf
        masked = masked.reshape(*(1 for _ in batch), count, length)
        yield Case("attention", [*given, masked], {"scale": 0.5, "causal": False, "turned": True})


def recurrences() -> Iterator[Case]:
    for steps, count, features, units in ((4, 1, 3, 5), (3, 2, 20, 17), (1, 1, 1, 1), (2, 3, 16, 16), (2, 1, 5, 40)):
        x, state = (FLOAT, (steps, count, features)), (FLOAT, (count, units))

        def weights(gates: int, biases: int, units: int = units, features: int = features) -> list[Any]:
            scaled = [normal(gates * units, size) * np.float32(0.5) for size in (features, units)]
            return [*scaled, *(normal(gates * units) for _ in range(biases))]

        for reverse in (False, True):
            yield Case("lstm", [x, state, state, *weights(4, 1)], {"reverse": reverse})
            yield Case("gru", [x, state, *weights(3, 2)], {"reverse": reverse})
            yield Case("rnn", [x, state, *weights(1, 1)], {"reverse": reverse, "kind": "relu" if reverse else "tanh"})
            packed = pack_recurrence(weights(4, 0)[1], 16)
            yield Case("lstm_steps", [(FLOAT, (steps, count, 4 * units)), state, state, packed], {"reverse": reverse})
    state = (FLOAT, (7, 18))  # as many sequences as share their weights, and one more; units that leave some over
    for reverse in (False, True):
        packed = pack_recurrence(normal(72, 18) * np.float32(0.5), 16)
        yield Case("lstm_steps", [(FLOAT, (3, 7, 72)), state, state, packed], {"reverse": reverse})
    yield Case("lstm", [(FLOAT, (2, 1, 3)), normal(1, 5), normal(1, 5), normal(20, 3), normal(20, 5), normal(20)])


def orders() -> Iterator[Case]:
    for dims, axis, count in (((7,), 0, 3), ((3, 20, 2), 1, 20), ((2, 33), 1, 1), ((5, 4), 0, 5)):
        for kind in (FLOAT, DType.INT64):
            yield Case("top", [(kind, dims)], {"axis": axis, "count": count, "largest": axis == 0}, exact=True)


CASES = (*attentions(), *recurrences(), *orders())
LARGE = 5_000
"""Elements of an input that has several blocks of keys in registers of 16 lanes, and takes a single lane forever."""


def is_large(case: Case) -> bool:
    return any(np.prod(given.shape if isinstance(given, np.ndarray) else given[1]) > LARGE for given in case.inputs)


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]}-{way[1]}")
def found(request, tmp_path_factory) -> Iterator[Nests]:
    way, lanes = request.param
    folder = tmp_path_factory.mktemp("sequences")
    cases = [case for case in compiled_of(CASES, way) if lanes > 1 or not is_large(case)]
    with nests(cases, lanes, folder, f"{way}_sequences_{lanes}", plain=way == "plain") as made:
        yield made


def test_every_kernel_against_the_reference(found):
    rng = np.random.default_rng(1)
    check_all(found, [random_inputs(case, rng, 2) for case in found.cases], tolerance=1e-5)


def test_nan_goes_through_attention(found):
    rng = np.random.default_rng(2)
    inputs = [random_inputs(case, rng, 1) for case in found.cases]
    for case, arrays in zip(found.cases, inputs, strict=True):
        if case.op == "attention":
            arrays[0].flat[0] = np.nan
    check_all(found, inputs, tolerance=1e-5)


def test_every_general_op_has_a_kernel_that_is_tested():
    cases = (*CASES, *test_nests.CASES, *test_folding_nests.CASES, *test_image_nests.CASES, *test_winograd_nests.FEW)
    tested = {case.op for case in cases}
    assert {row.name for row in OPS.values() if row.template == "nest"} <= tested
