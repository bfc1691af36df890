"""
What predictors are asked, and how well the answers can be known.
"""

import math
from dataclasses import replace

import numpy as np

from compiler.ir import Box, DType, Tensor
from compiler.verify.comparison import show
from compiler.verify.observations import finite_observations, nonfinite_observations
from compiler.verify.reference import answers
from tests import stand_in


def test_observations_are_the_same_each_time_and_of_the_space():
    space = stand_in.observation_space()
    first, second = finite_observations(space, 50, 3), finite_observations(space, 50, 3)
    assert first.values.tobytes() == second.values.tobytes()
    assert first.values.dtype == np.float32
    assert first.values.shape == (len(first.kinds), 4)
    assert np.isfinite(first.values).all()
    assert finite_observations(space, 50, 4).values.tobytes() != first.values.tobytes()
    inside = [row for row, kind in zip(first.values, first.kinds, strict=True) if kind == "random within the bounds"]
    assert len(inside) == 25
    assert np.abs(np.array(inside)[:, 1]).max() <= 0.5
    assert {"zero", "denormal", "negative zero", "float32's largest"} <= set(first.kinds)


def test_whole_numbers_stay_within_their_bounds():
    space = Box(DType.UINT8, np.zeros((2, 3), np.uint8), np.full((2, 3), 255, np.uint8))
    found = finite_observations(space, 500, 1)
    assert found.values.dtype == np.uint8
    assert found.values.shape == (503, 2, 3)
    assert found.values.min() == 0
    assert found.values.max() == 255
    assert nonfinite_observations(space, 1) is None
    odd = Box(DType.INT8, np.array([-3], np.int8), np.array([2], np.int8))
    assert set(finite_observations(odd, 200, 1).values.reshape(-1).tolist()) == {-3, -2, -1, 0, 1, 2}


def test_large_observations_get_a_bounded_number_of_one_hots():
    space = Box(DType.FLOAT32, np.full(1000, -1, np.float32), np.full(1000, 1, np.float32))
    assert len(finite_observations(space, 10, 1)) < 300


def test_observations_that_overflow_float32_are_not_compared():
    expected = answers(stand_in.policy(activation="relu"), np.full((2, 4), [[1], [3e38]], np.float32), 0)
    assert expected.compared.tolist() == [True, False]


def test_conditioning_widens_what_is_allowed_where_huge_numbers_cancel():
    source = stand_in.policy(activation="tanh", discrete=False)
    weight = source.tensors["pi.0.weight"]
    row = np.ones((8, 4), np.float32)
    source = replace(source, tensors={**source.tensors, weight.name: Tensor.constant(weight.name, row)})
    cancelling = np.array([[1e20, -1e20, 1e20, -1e20], [1, -1, 1, -1]], np.float32)
    slack = answers(source, cancelling, 0).score_slack.max(axis=1)
    assert slack[0] > 0.1
    assert slack[1] < 1e-4


def test_values_are_shown_shortly():
    assert show(np.array([0.5, np.nan, -math.inf], np.float32)) == "[0.5, nan, -inf]"
    assert show(np.arange(20)) == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, ... 4 more]"
    assert show(np.asarray(3)) == "3"
