"""
What predictors are asked, and how well the answers can be known.
"""

import math
from dataclasses import replace

import numpy as np

from compiler.ir import Box, Discrete, DType, MultiBinary, MultiDiscrete, Tensor
from compiler.verify import reference
from compiler.verify.answers import answers
from compiler.verify.asking import show
from compiler.verify.cases import Cases, finite_cases, nonfinite_cases
from compiler.verify.observations import finite_values
from tests import policies, stand_in


def test_observations_are_the_same_each_time_and_of_the_space():
    model = stand_in.policy()
    first, second = finite_cases(model, 50, 3), finite_cases(model, 50, 3)
    values = first.values["observation"]
    assert values.tobytes() == second.values["observation"].tobytes()
    assert values.dtype == np.float32
    assert values.shape == (len(first), 4)
    assert np.isfinite(values).all()
    assert finite_cases(model, 50, 4).values["observation"].tobytes() != values.tobytes()
    inside = [row for row, kind in zip(values, first.kinds, strict=True) if kind == "random within the bounds"]
    assert len(inside) == 25
    assert np.abs(np.array(inside)[:, 1]).max() <= 0.5
    assert {"zero", "denormal", "negative zero", "float32's largest"} <= set(first.kinds)


def values_of(space, count):
    found = finite_values(space, count, np.random.default_rng(1))
    return np.concatenate([found.random_rows, *(values for _, values in found.special)])


def test_whole_numbers_stay_within_their_bounds():
    space = Box(DType.UINT8, np.zeros((2, 3), np.uint8), np.full((2, 3), 255, np.uint8))
    found = values_of(space, 500)
    assert found.dtype == np.uint8
    assert found.shape == (503, 2, 3)
    assert found.min() == 0
    assert found.max() == 255
    assert nonfinite_cases(policies.observing(space), finite_cases(policies.observing(space), 5, 1), 1) is None
    odd = Box(DType.INT8, np.array([-3], np.int8), np.array([2], np.int8))
    assert set(values_of(odd, 200).reshape(-1).tolist()) == {-3, -2, -1, 0, 1, 2}


def test_every_choice_is_seen_and_bits_are_bits():
    assert set(values_of(Discrete(9), 3).tolist()) == set(range(9))
    assert {0, 10**6 - 1} <= set(values_of(Discrete(10**6), 3).tolist())
    found = values_of(MultiDiscrete((2, 70)), 300)
    assert found.shape[1:] == (2,)
    assert set(found[:, 0].tolist()) == {0, 1}
    assert {0, 63, 69} <= set(found[:, 1].tolist()) <= set(range(70))
    bits = values_of(MultiBinary((2, 3)), 50)
    assert bits.shape[1:] == (2, 3)
    assert set(bits.reshape(-1).tolist()) == {0, 1}


def test_half_precision_stays_finite():
    space = Box(DType.FLOAT16, np.full(3, -np.inf, np.float16), np.full(3, np.inf, np.float16))
    found = values_of(space, 100)
    assert found.dtype == np.float16
    assert np.isfinite(found).all()
    assert found.max() == np.finfo(np.float16).max


def test_large_observations_get_a_bounded_number_of_one_hots():
    space = Box(DType.FLOAT32, np.full(1000, -1, np.float32), np.full(1000, 1, np.float32))
    assert len(values_of(space, 10)) < 300


def test_policies_that_take_long_are_asked_less():
    image = Box(DType.UINT8, np.zeros((1, 256, 256), np.uint8), np.full((1, 256, 256), 255, np.uint8))
    model = policies.observing(image)
    cases = finite_cases(model, 1000, 1)
    assert 100 <= len(cases) <= 2**23 // 65536 + 3
    assert len(finite_cases(policies.observing(policies.IMAGE), 1000, 1)) == 1003


def test_masks_allow_everything_one_choice_and_nothing():
    cases = finite_cases(policies.masked(), 100, 1)
    masks = cases.values["action_masks"]
    assert masks.dtype == bool
    assert {0, 1, 8, 9} <= set(masks.sum(axis=1).tolist())
    assert len({row.tobytes() for row in masks[:100]}) > 50


def test_states_are_random_zero_and_large_and_episodes_begin():
    cases = finite_cases(policies.recurrent(), 100, 1)
    assert set(cases.values) == {"observation", "episode_starts", "h.0", "c.0", "h.1", "c.1"}
    assert set(cases.values["episode_starts"].tolist()) == {0.0, 1.0}
    start = np.array([kind == "no state" for kind in cases.kinds])
    assert start.sum() == 4
    for name in ("h.0", "c.0", "h.1", "c.1"):
        assert not cases.values[name][start].any()
        assert cases.values[name][~start].any(axis=1).sum() > 90
        assert np.abs(cases.values[name]).max() > 5


def test_observations_follow_the_statistics_that_they_are_normalised_by():
    sketch = policies.Sketch()
    source = sketch.graph.input("observation", DType.FLOAT64, ("batch", 4))
    mean, deviation = np.array([1e3, -5, 0, 1e5]), np.array([1.0, 0.1, 2, 30])
    statistics = [sketch.graph.constant("mean", mean), sketch.graph.constant("deviation", deviation)]
    source = sketch.graph.add("normalize", [source, *statistics], "normalize", clip=10.0)
    scores = sketch.linear(source, "action_net", 3)
    model = sketch.model(policies.WIDE, Discrete(3), sketch.graph.add("argmax", [scores], "mode"), scores)
    cases = finite_cases(model, 200, 1)
    normalised = (cases.values["observation"][:100] - mean) / deviation
    assert (np.abs(normalised) < 10).mean() > 0.7
    expected = answers(model, cases, 0)
    assert expected.compared.all()  # clipped, however large
    assert np.median(expected.scores.slack / expected.scores.scale) < 1e-5


def test_cases_are_computed_in_pieces_alike(monkeypatch):
    model = policies.observing(policies.PARTS)
    cases = finite_cases(model, 60, 1)
    whole = answers(model, cases, 0)
    monkeypatch.setattr(reference, "CHUNK", 1)
    pieces = answers(model, cases, 0)
    np.testing.assert_allclose(pieces.scores.values, whole.scores.values, rtol=1e-12)
    np.testing.assert_array_equal(pieces.actions, whole.actions)
    assert pieces.compared.tolist() == whole.compared.tolist()


def test_steps_feed_back_the_state():
    model = policies.recurrent(1)
    cases = finite_cases(model, 12, 1).only(slice(0, 12))
    cases = cases.replaced(episode_starts=np.eye(1, 12, 5, dtype=np.float32)[0])
    expected = answers(model, cases, 0, reference.steps)
    state = {name: cases.values[name][:1] for name in ("h.0", "c.0")}
    for row in range(12):
        step = answers(model, cases.only(slice(row, row + 1)).replaced(**state), 0)
        np.testing.assert_allclose(expected.scores.values[row], step.scores.values[0], rtol=1e-5)
        state = {name: part.values for name, part in step.states.items()}
    begun = cases.only(slice(5, 6)).replaced(**{name: np.zeros_like(value) for name, value in state.items()})
    np.testing.assert_allclose(answers(model, begun, 0).scores.values[0], expected.scores.values[5], rtol=1e-12)


def test_yes_or_no_is_a_choice_between_the_logit_and_zero():
    model = policies.observing(policies.WIDE, MultiBinary((5,)))
    cases = finite_cases(model, 50, 1)
    choices = answers(model, cases, 0).choices
    assert choices is not None
    assert choices.sizes == (2,) * 5
    assert choices.acceptable(choices.chosen).all()
    other = choices.chosen.copy()
    other[:, 2] = 1 - other[:, 2]
    assert not choices.acceptable(other)[:50].any()
    near = replace(choices, scores=np.where(choices.scores == choices.scores[:, 4:6].max(), 5e-7, choices.scores))
    near.scores[:, 5] = 5e-7
    assert near.acceptable(other).all()


def test_what_a_mask_forbids_is_never_a_tie():
    model = policies.masked(Discrete(6))
    cases = finite_cases(model, 50, 1)
    cases = cases.replaced(action_masks=np.repeat(np.eye(1, 6, 3, dtype=bool), len(cases), axis=0))
    expected = answers(model, cases, 0)
    assert set(expected.actions.tolist()) == {3}
    assert expected.choices is not None
    assert not expected.choices.acceptable(np.full(len(cases), 2)).any()
    nothing = answers(model, cases.replaced(action_masks=np.zeros((len(cases), 6), bool)), 0)
    assert set(nothing.actions.tolist()) == {0}
    assert nothing.choices is not None
    assert not nothing.choices.acceptable(np.full(len(cases), 2)).any()


def test_observations_that_overflow_float32_are_not_compared():
    cases = Cases({"observation": np.full((2, 4), [[1], [3e38]], np.float32)}, ("one", "large"))
    assert answers(stand_in.policy(activation="relu"), cases, 0).compared.tolist() == [True, False]


def test_conditioning_widens_what_is_allowed_where_huge_numbers_cancel():
    source = stand_in.policy(activation="tanh", discrete=False)
    weight = source.tensors["pi.0.weight"]
    row = np.ones((8, 4), np.float32)
    source = replace(source, tensors={**source.tensors, weight.name: Tensor.constant(weight.name, row)})
    cancelling = np.array([[1e20, -1e20, 1e20, -1e20], [1, -1, 1, -1]], np.float32)
    slack = answers(source, Cases({"observation": cancelling}, ("huge", "small")), 0).scores.slack.max(axis=1)
    assert slack[0] > 0.1
    assert slack[1] < 1e-4


def test_values_are_shown_shortly():
    assert show(np.array([0.5, np.nan, -math.inf], np.float32)) == "[0.5, nan, -inf]"
    assert show(np.arange(20)) == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, ... 4 more]"
    assert show(np.asarray(3)) == "3"
