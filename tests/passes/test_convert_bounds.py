"""
Bounds of integers, against what NumPy gives for them.
"""

import numpy as np
import pytest

from compiler.check import check
from compiler.ir import BATCH, Box, DType, Model, Origin, Output, Policy
from compiler.ops.builder import GraphBuilder
from compiler.ops.reference import evaluate
from compiler.options import BuildOptions
from compiler.passes.convert_bounds import convert_bounds

X = np.linspace(-1, 1, 21, dtype=np.float32).repeat(2).reshape(21, 2)


def model(op: str, low: list[float], high: list[float], dtype: str) -> Model:
    builder = GraphBuilder()
    source = builder.input("observation", DType.FLOAT32, (BATCH, 2))
    bounds = [builder.constant(f"action_space.{n}", np.array(v, dtype)) for n, v in (("low", low), ("high", high))]
    result = builder.add(op, [source, *bounds], "action")
    space = Box(DType(dtype), np.array(low, dtype), np.array(high, dtype))
    policy = Policy("ActorCriticPolicy", Box(DType.FLOAT32, X[0], X[0]), space)
    outputs = (Output("action", result, "action"),)
    return Model("m", tuple(builder.nodes), builder.tensors, (source,), outputs, Origin("f", "", ""), policy=policy)


@pytest.mark.parametrize("op", ["clip", "rescale"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64", "float16", "float32", "float64"])
def test_bounds_take_the_dtype_of_the_action_and_the_action_stays(op, dtype):
    before = model(op, [0, 1], [100, 3], dtype)
    after = check(convert_bounds(before, BuildOptions()), "test")
    action = after.tensors["action"]
    assert {after.tensors[f"action_space.{n}"].dtype for n in ("low", "high")} == {action.dtype}
    given = {"observation": X}
    np.testing.assert_array_equal(evaluate(after, given)["action"], evaluate(before, given)["action"])
    assert convert_bounds(after, BuildOptions()) == after


def test_a_difference_of_int8_bounds_that_wraps_around_is_kept():
    before = model("rescale", [-128, -100], [127, 100], "int8")
    after = convert_bounds(before, BuildOptions())
    low, high = np.array([-128, -100], np.int8), np.array([127, 100], np.int8)
    with np.errstate(over="ignore"):
        expected = low + 0.5 * (X + np.float32(1)) * (high - low)  # as SB3's unscale_action computes it
    np.testing.assert_allclose(evaluate(after, {"observation": X})["action"], expected, rtol=1e-6)
