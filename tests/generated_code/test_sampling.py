"""
What predictors draw, where they are not asked for the best action: by statistics, against the parameters of the model.

The packages are not compiled: what is drawn from the results of the kernels is plain NumPy in any case.
"""

import math
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from compiler.ir import ACTION_MASKS
from compiler.ops.reference import evaluate
from tests.generated_code.sampled import (
    POLICIES,
    ROWS,
    SIZES,
    STD,
    UNEVEN,
    WHOLE,
    arguments,
    gaussian,
    inputs,
    predictors,
)
from tests.models import predictor
from tests.policies import NARROW, WIDE, observing

COUNT = 800
"""How often each observation is in a batch."""
SIGMAS = 5
BOUNDS = {"squashed": UNEVEN, "whole bounds": WHOLE}


@pytest.fixture(scope="module")
def modules(tmp_path_factory) -> Iterator[dict[str, ModuleType]]:
    with predictors(tmp_path_factory.mktemp("sampled")) as found:
        yield found


def parameters(name: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """
    What the action is drawn from, in float64, by the op table's definitions.
    """
    model = POLICIES[name]
    found = evaluate(model, values)
    results = {
        output.role if output.role == "scores" else output.name: found.get(
            output.tensor, model.tensors[output.tensor].data
        )
        for output in model.outputs
    }
    return {key: np.asarray(value, np.float64) for key, value in results.items()}


def chances(name: str, values: dict[str, np.ndarray]) -> np.ndarray:
    """
    The probabilities that a categorical policy draws from, choice by choice, written down as in MaskableCategorical.
    """
    logits, result, first = parameters(name, values)["scores"], [], 0
    for size in SIZES[name]:
        part = logits[:, first : first + size]
        part = part - np.log(np.exp(part).sum(axis=1, keepdims=True))
        if ACTION_MASKS in values:
            part = np.where(values[ACTION_MASKS][:, first : first + size], part, -1e8)
        weights = np.exp(part - part.max(axis=1, keepdims=True))
        result.append(weights / weights.sum(axis=1, keepdims=True))
        first += size
    return np.concatenate(result, axis=1)


def sampled(module: ModuleType, name: str, count: int = COUNT, seed: int = 1) -> np.ndarray:
    """
    Actions that are drawn for ROWS observations, `count` times each: (ROWS, count, n).
    """
    model = POLICIES[name]
    given = arguments(model, inputs(model, count))
    actions = module.predict(**given, deterministic=False, generator=np.random.default_rng(seed))[0]
    return actions.reshape(ROWS, count, -1)


def assert_chances(happened: np.ndarray, expected: np.ndarray) -> None:
    """
    That what happened (rows, count, n) has these probabilities (rows, n), as far as such a number of draws can tell.
    """
    count = happened.shape[1]
    sigma = np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(happened.mean(axis=1) - expected) <= SIGMAS * sigma + 1e-12).all()


def assert_normal(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
    """
    That values (rows, count, n) are independent and normal with these parameters (rows, n).
    """
    count = values.shape[1]
    standard = (values - mean[:, None]) / std[:, None]
    moments = {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}
    for power, (expected, variance) in moments.items():
        found = (standard**power).mean(axis=1)
        assert (np.abs(found - expected) < SIGMAS * np.sqrt(variance / count)).all(), power
    for row in standard:
        related = np.corrcoef(row.T)[~np.eye(row.shape[1], dtype=bool)]
        assert (np.abs(related) < SIGMAS / np.sqrt(count)).all()


def below(sigmas: float) -> float:
    """
    How likely a normal variable is less than its mean and so many deviations.
    """
    return (1 + math.erf(sigmas / math.sqrt(2))) / 2


@pytest.mark.parametrize("name", SIZES)
def test_choices_follow_the_softmax(modules, name):
    model = POLICIES[name]
    expected = chances(name, inputs(model))
    drawn, first = sampled(modules[name], name), 0
    for number, size in enumerate(SIZES[name]):
        happened = drawn[:, :, number, None] == np.arange(size)
        assert happened.any(axis=2).all()
        part = expected[:, first : first + size]
        assert not (happened.any(axis=1) & (part == 0)).any()
        assert_chances(happened, part)
        first += size
    for number in range(1, len(SIZES[name])):  # choices are independent of one another
        for row in drawn:
            pair = row[:, number - 1 : number + 1].T
            if pair.std(axis=1).all():
                assert abs(np.corrcoef(pair)[0, 1]) < SIGMAS / np.sqrt(COUNT)


@pytest.mark.parametrize("name", SIZES)
def test_probabilities_of_choices(modules, name):
    model, module = POLICIES[name], modules[name]
    values = inputs(model)
    expected = chances(name, values)
    given = arguments(model, values)
    found = module.distribution(**given)
    assert found.keys() == {"probabilities"}
    assert found["probabilities"].dtype == np.float64
    np.testing.assert_allclose(found["probabilities"], expected, rtol=1e-5)
    assert np.array_equal(module.action_probabilities(**given), found["probabilities"])
    for row in range(ROWS if not model.states else 1):
        single = module.action_probabilities(**arguments(model, values, row))
        np.testing.assert_allclose(single, expected[row], rtol=1e-5)


def test_without_masks_everything_is_allowed(modules):
    model = POLICIES["masked choices"]
    rows = inputs(model)["observation"]
    found = modules["masked choices"].action_probabilities(rows)
    full = np.ones((ROWS, 9), bool)
    assert np.array_equal(found, modules["masked choices"].action_probabilities(rows, full))
    assert (found > 0).all()


def test_where_nothing_is_allowed_all_is_as_likely(modules):
    values = inputs(POLICIES["masked choices"])
    found = modules["masked choices"].action_probabilities(values["observation"], values[ACTION_MASKS])
    np.testing.assert_allclose(found[0], np.repeat([1 / 2, 1 / 3, 1 / 4], (2, 3, 4)))


def test_bits_follow_the_sigmoid(modules):
    values = inputs(POLICIES["bits"])
    expected = 1 / (1 + np.exp(-parameters("bits", values)["scores"]))
    found = modules["bits"].distribution(values["observation"])
    assert found.keys() == {"probabilities"}
    np.testing.assert_allclose(found["probabilities"], expected, rtol=1e-5)
    assert np.array_equal(modules["bits"].action_probabilities(values["observation"][1]), found["probabilities"][1])
    drawn = sampled(modules["bits"], "bits")
    assert set(np.unique(drawn)) == {0, 1}
    assert_chances(drawn, expected)


@pytest.mark.parametrize("name", ["squashed", "whole bounds"])
def test_squashed_actions_are_normal_before_the_tanh(modules, name):
    expected = parameters(name, inputs(POLICIES[name]))
    found = modules[name].distribution(inputs(POLICIES[name])["observation"])
    for key, right in (("mean", "scores"), ("std", "std")):
        assert found[key].dtype == np.float32
        np.testing.assert_allclose(found[key], expected[right], rtol=1e-5, atol=1e-6)
    low, high = BOUNDS[name].low, BOUNDS[name].high
    with np.errstate(over="ignore"):
        width = np.subtract(high, low)
    drawn = 2 * np.subtract(sampled(modules[name], name), low, dtype=np.float64) / width - 1
    for sigmas in (-1.5, -1.0, -0.3, 0.0, 0.7, 1.2):
        limits = expected["scores"] + sigmas * expected["std"]
        told = np.abs(limits) < 4  # float32 tells what is below from what is above
        assert told.any()
        happened = np.mean(drawn < np.tanh(limits)[:, None], axis=1)
        assert (np.abs(happened - below(sigmas))[told] < SIGMAS * 0.5 / np.sqrt(COUNT)).all()


@pytest.mark.parametrize("name", ["clipped", "recurrent"])
def test_clipped_actions_are_normal_within_the_bounds(modules, name):
    model = POLICIES[name]
    values = inputs(model)
    expected = parameters(name, values)["scores"]
    found = modules[name].distribution(**arguments(model, values))
    np.testing.assert_allclose(found["mean"], expected, rtol=1e-5, atol=1e-6)
    assert np.array_equal(found["std"], np.tile(STD, (ROWS, 1)))
    drawn = sampled(modules[name], name)
    assert (np.abs(drawn) <= 2).all()
    assert (np.abs(drawn) == 2).any()
    for limit in (-1.9, -1.0, 0.0, 0.5, 1.9):
        right = np.vectorize(below)((limit - expected) / STD)
        assert (np.abs(np.mean(drawn < limit, axis=1) - right) < SIGMAS * 0.5 / np.sqrt(COUNT)).all()


def test_noise_is_normal(tmp_path):
    std = np.array([1e-3, 1e-2, 1e-1], np.float32)
    model = gaussian(observing(WIDE, NARROW), std=std)
    mean = evaluate(model, inputs(model))[model.outputs[1].tensor]
    with predictor(tmp_path / "normal", model, plain=True) as module:
        rows = inputs(model, COUNT)["observation"]
        drawn = module.predict(rows, deterministic=False, generator=np.random.default_rng(4))[0]
    inside = np.abs(mean).max(axis=0) < 1.4
    assert inside.any()
    normal = drawn.reshape(ROWS, COUNT, 3)[:, :, inside].astype(np.float64)
    assert_normal(normal, mean[:, inside], np.tile(std, (ROWS, 1))[:, inside])


def test_noise_has_the_deviations_of_the_matrix(modules):
    module, count = modules["noise"], 1000
    rows = inputs(POLICIES["noise"])["observation"]
    expected = parameters("noise", inputs(POLICIES["noise"]))
    std = np.sqrt(expected["latent"] ** 2 @ expected["noise_std"] ** 2)
    found = module.distribution(rows)
    np.testing.assert_allclose(found["std"], np.sqrt(std**2 + 1e-6), rtol=1e-4)
    np.testing.assert_allclose(found["mean"], expected["scores"], rtol=1e-4, atol=1e-6)
    generator, drawn = np.random.default_rng(9), []
    for _ in range(count):
        module.reset_noise(generator)
        drawn.append(module.predict(rows, deterministic=False)[0])
    fractions = 2 * np.subtract(drawn, UNEVEN.low) / np.subtract(UNEVEN.high, UNEVEN.low) - 1
    before = np.arctanh(np.clip(fractions, -1, 1)).transpose(1, 0, 2)
    inside = (np.abs(expected["scores"]) + 4 * std < 5).all(axis=0)
    assert inside.any()
    assert_normal(before[:, :, inside], expected["scores"][:, inside], std[:, inside])


def test_now_and_then_any_choice(modules):
    module, model = modules["q_values"], POLICIES["q_values"]
    rows = inputs(model)["observation"]
    values = parameters("q_values", inputs(model))["scores"]
    np.testing.assert_allclose(module.q_values(rows), values, rtol=1e-5)
    assert np.array_equal(module.q_values(rows[0]), module.distribution(rows[0])["q_values"])
    assert module.distribution(rows)["epsilon"] == 0.25
    generator, count = np.random.default_rng(3), 1500
    drawn = np.array([module.predict(rows, deterministic=False, generator=generator)[0] for _ in range(count)])
    best = (drawn == module.predict(rows)[0]).all(axis=1)
    # The random choices are those of the space, which begin at 3; the best is 3 itself only where that is the best.
    assert_chances((~best)[None, :, None], np.array([[0.25]]))
    others = drawn[~best]
    assert set(np.unique(others)) == {3, 4, 5, 6}
    assert_chances((others[:, :, None] == np.arange(3, 7)).transpose(1, 0, 2), np.full((ROWS, 4), 0.25))
