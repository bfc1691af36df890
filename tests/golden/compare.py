"""
When two answers of one policy are the same, for the tests that compare with SB3.
"""

from typing import Any

import numpy as np
from gymnasium.spaces import Box

SCORE = 5e-6
"""Of the largest score and observation of a row, and of 1: what float32 arithmetic in another order may change."""
ACTION = 1e-5
"""Of the range of an action."""
MOST_UNDECIDED = 0.02
"""Of all observations: those whose two best scores are too close to be told apart."""


def score_tolerance(scores: np.ndarray, observations: np.ndarray) -> np.ndarray:
    """
    How far each row of scores, (n, k), may be off for observations (n, ...); (n, 1).
    """
    inputs = np.abs(observations.reshape(len(observations), -1).astype(np.float64))
    return SCORE * (1 + np.abs(scores).max(axis=1, keepdims=True) + inputs.max(axis=1, keepdims=True))


def assert_same_scores(actual: np.ndarray, expected: np.ndarray, observations: np.ndarray) -> None:
    """
    Compares (n, k) scores with those of SB3.
    """
    assert actual.shape == expected.shape
    excess = np.abs(actual - expected) - score_tolerance(expected, observations)
    worst = int(excess.max(axis=1).argmax())
    assert (excess <= 0).all(), f"row {worst}: {actual[worst]} instead of {expected[worst]}"


def assert_same_actions(
    agent: Any, actual: np.ndarray, expected: np.ndarray, scores: np.ndarray, observations: np.ndarray
) -> None:
    """
    Compares (n, ...) actions with those of SB3's agent.

    Discrete ones may differ where its scores, (n, k), do not decide; others by what the rounding of the scores makes of
    them: as much again if they are clipped, half the range if they are squashed.
    """
    assert actual.shape == expected.shape
    space = agent.action_space
    rounding = score_tolerance(scores, observations)
    if not isinstance(space, Box):
        best = np.sort(np.pad(scores, ((0, 0), (1, 0)), constant_values=-np.inf), axis=1)[:, -2:]
        decided = best[:, 1] - best[:, 0] > rounding[:, 0]
        assert (~decided).mean() <= MOST_UNDECIDED
        wrong = np.flatnonzero(decided & (actual != expected))
        assert not len(wrong), f"row {wrong[0]}: {actual[wrong[0]]} instead of {expected[wrong[0]]}"
        return
    span = space.high.astype(np.float64) - space.low
    span = np.where(np.isfinite(span), span, 2.0)
    gain = span / 2 if agent.policy.squash_output else 1.0
    excess = np.abs(actual - expected) - ACTION * span - gain * rounding.reshape(-1, *[1] * len(space.shape))
    worst = int(excess.reshape(len(excess), -1).max(axis=1).argmax())
    assert (excess <= 0).all(), f"row {worst}: {actual[worst]} instead of {expected[worst]}"
