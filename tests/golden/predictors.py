"""
A generated predictor against SB3's `predict`: what the tests check of each recipe's, in one go, since building it takes
seconds.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from gymnasium.spaces import Dict, Discrete
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3.common.preprocessing import is_image_space

from compiler.options import BuildOptions
from compiler.pipeline import load_model, run_passes
from compiler.verify import Predictor, verify
from tests import models
from tests.golden.agents import flat, make, observations_for, save
from tests.golden.compare import assert_same_actions, assert_same_scores
from tests.golden.expected import Given, expected_of, given_for, length

SINGLES = 40
BATCHES = (1, 2, 3, 7, 8, 17, 50)
ENVIRONMENTS, STEPS = 4, 15
VERIFIED = 100
"""Observations that the build compares with the model: enough, since these tests compare with SB3 itself."""


def check_predictor(name: str, folder: Path) -> None:
    """
    Builds the predictor of a recipe and asks it for batches of all sizes, single observations, and episodes.
    """
    path, options = save(name, folder), BuildOptions(verify_observations=VERIFIED)
    model = load_model(path, options)
    # What a build does, without importing and compiling a second time what it has placed.
    with models.predictor(folder / f"golden_{name}", model, options) as predictor:
        verify(model, run_passes(model, options), cast(Predictor, predictor), options)
        check_answers(make(name), predictor)


def check_answers(agent: Any, predictor: Any) -> None:
    """
    Compares a predictor with its agent in every way that there is to ask it.
    """
    given = given_for(agent, observations_for(agent.observation_space))
    check_batch(agent, predictor, given)
    for size in BATCHES:
        check_batch(agent, predictor, rows_of(given, slice(10, 10 + size)))
    check_singles(agent, predictor, given)
    if isinstance(agent, RecurrentPPO):
        check_episodes(agent, predictor, given)
    elif not isinstance(agent.observation_space, Dict):
        check_forms(predictor, given)
    if is_image_space(agent.observation_space):
        check_channels_last(predictor, given)


def rows_of(given: Given, rows: slice) -> Given:
    """
    Some of the observations, with what goes with them.
    """
    several = isinstance(given.observations, dict)
    observations = (
        {key: part[rows] for key, part in given.observations.items()} if several else given.observations[rows]
    )
    state = given.state and (given.state[0][:, rows], given.state[1][:, rows])
    masks = None if given.masks is None else given.masks[rows]
    return Given(observations, masks, state, None if given.starts is None else given.starts[rows])


def others_of(agent: Any, given: Given) -> dict[str, Any]:
    """
    What `predict` takes besides the observation.
    """
    if isinstance(agent, MaskablePPO):
        return {"action_masks": given.masks}
    return {"state": given.state, "episode_start": given.starts} if isinstance(agent, RecurrentPPO) else {}


def check_batch(agent: Any, predictor: Any, given: Given) -> None:
    """
    Compares actions, scores and the next state for all observations at once.
    """
    expected, seen = expected_of(agent, given), flat(agent, given.observations)
    scores = expected.outputs["scores"]
    others = others_of(agent, given)
    actions, state = predictor.predict(given.observations, **others)
    assert actions.dtype == expected.actions.dtype
    assert_same_actions(agent, actions, expected.actions, scores, seen, given.masks)
    others.pop("action_masks", None)
    assert_same_scores(predictor.scores(given.observations, **others), scores, seen)
    if expected.state is None:
        assert state is None
        return
    for own, theirs in zip(state, expected.state, strict=True):
        assert (own.shape, own.dtype) == (theirs.shape, theirs.dtype)
        for layer, wanted in zip(own, theirs, strict=True):
            assert_same_scores(layer, wanted, seen)


def check_singles(agent: Any, predictor: Any, given: Given) -> None:
    """
    Asks for one observation after the other, through `predict` and `act`.
    """
    count = length(given.observations)
    chosen = range(0, count, max(1, count // SINGLES))
    actions, expected = [], []
    for row in chosen:
        one = rows_of(given, slice(row, row + 1))
        several = isinstance(one.observations, dict)
        observation = {key: part[0] for key, part in one.observations.items()} if several else one.observations[0]
        others = others_of(agent, one)
        action, state = predictor.predict(observation, **others)
        wanted, after = agent.predict(observation, deterministic=True, **others)
        assert type(action) is np.ndarray
        assert (action.shape, action.dtype) == (wanted.shape, wanted.dtype)
        if isinstance(agent, RecurrentPPO):
            shortest, left = predictor.act(observation, one.state, bool(one.starts[0]))  # type: ignore[index]
            np.testing.assert_array_equal(left, state)
            np.testing.assert_allclose(state, after, rtol=1e-4, atol=1e-5)
        else:
            shortest = predictor.act(observation, **others)
        assert isinstance(shortest, int if isinstance(agent.action_space, Discrete) else np.ndarray)
        np.testing.assert_array_equal(shortest, action)
        actions.append(action)
        expected.append(wanted)
    some = rows_of(given, slice(0, None, chosen.step))
    scores, seen = expected_of(agent, some).outputs["scores"], flat(agent, some.observations)
    assert_same_actions(agent, np.array(actions), np.array(expected), scores, seen, some.masks)


def check_episodes(agent: Any, predictor: Any, given: Given) -> None:
    """
    Steps several environments side by side, and one alone, with the states that each side has returned before.
    """
    assert given.state is not None
    zeros = np.zeros_like(given.state[0][:, :ENVIRONMENTS])
    own, state = None, (zeros, zeros)
    episode = predictor.Episode()
    for step in range(STEPS):
        some = rows_of(given, slice(step * ENVIRONMENTS, (step + 1) * ENVIRONMENTS))
        start = some.starts if step else None
        some = replace(some, state=state, starts=np.zeros(ENVIRONMENTS, bool) if start is None else start)
        expected, seen = expected_of(agent, some), flat(agent, some.observations)
        scores = expected.outputs["scores"]
        actions, own = predictor.predict(some.observations, own, start)
        assert_same_actions(agent, actions, expected.actions, scores, seen)
        assert expected.state is not None
        state = expected.state
        for mine, theirs in zip(own, state, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
        if start is not None and start[0]:
            episode.reset()
        several = isinstance(some.observations, dict)
        first = {key: part[0] for key, part in some.observations.items()} if several else some.observations[0]
        np.testing.assert_allclose(episode.act(first), actions[0], rtol=1e-5, atol=1e-5)


def forms_of(observations: np.ndarray) -> Iterator[tuple[str, Any]]:
    """
    The same observations as callers may have them.
    """
    yield "list", observations.tolist()
    yield "Fortran order", np.asfortranarray(observations)
    yield "backwards in memory", np.ascontiguousarray(observations[::-1])[::-1]
    yield "every second in memory", np.repeat(observations, 2, axis=0)[::2]
    for dtype in (np.float32, np.float64, np.int64):
        converted = observations.astype(dtype)
        if (converted == observations).all():
            yield np.dtype(dtype).name, converted


def check_forms(predictor: Any, given: Given) -> None:
    """
    Gives the same observations in other dtypes and layouts.
    """
    # Numbers that all of the dtypes can hold.
    observations = given.observations[:50]
    if observations.dtype.kind == "f":
        observations = np.random.default_rng(2).integers(-3, 4, observations.shape).astype(observations.dtype)
    expected, _ = predictor.predict(observations)
    for form, batch in forms_of(observations):
        actions, _ = predictor.predict(batch)
        np.testing.assert_array_equal(actions, expected, err_msg=form)
        assert actions.dtype == expected.dtype
    if observations.ndim < 2:
        return
    for observation in observations[[0, 7]]:
        expected, _ = predictor.predict(observation)
        for form, single in forms_of(observation):
            np.testing.assert_array_equal(predictor.predict(single)[0], expected, err_msg=form, strict=True)


def check_channels_last(predictor: Any, given: Given) -> None:
    """
    Gives images as cameras do.
    """
    observations = given.observations[:50]
    last = np.ascontiguousarray(observations.transpose(0, 2, 3, 1))
    masks = {} if given.masks is None else {"action_masks": given.masks[:50]}
    expected, _ = predictor.predict(observations, **masks)
    np.testing.assert_array_equal(predictor.predict(last, **masks)[0], expected)
    single = {name: value[3] for name, value in masks.items()}
    np.testing.assert_allclose(predictor.predict(last[3], **single)[0], expected[3], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(predictor.act(last[3], **single), expected[3], rtol=1e-5, atol=1e-5)
