"""
When two answers of one policy are the same, for the tests that compare with SB3.
"""

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

SCORE = 5e-6
"""Of the largest score and observation of a row, and of 1: what float32 arithmetic in another order may change."""
ACTION = 1e-5
"""Of the range of an action."""
MOST_UNDECIDED = 0.05
"""Of all observations: those whose two best scores are too close to be told apart, as without biases near zero."""

FEW = 100
"""Of fewer observations, any share may be undecided: zeros, for a network without biases."""


def score_tolerance(scores: np.ndarray, observations: Any) -> np.ndarray:
    """
    How far each row of scores, (n, k), may be off for observations (n, ...), or a dict of them; (n, 1).
    """
    parts = list(observations.values()) if isinstance(observations, dict) else [observations]
    inputs = np.concatenate([np.abs(part.reshape(len(part), -1).astype(np.float64)) for part in parts], axis=1)
    return SCORE * (1 + np.abs(scores).max(axis=1, keepdims=True) + inputs.max(axis=1, keepdims=True))


def assert_same_scores(actual: np.ndarray, expected: np.ndarray, observations: Any) -> None:
    """
    Compares (n, k) scores with those of SB3.
    """
    assert actual.shape == expected.shape
    excess = np.abs(actual - expected) - score_tolerance(expected, observations)
    worst = int(excess.max(axis=1).argmax())
    assert (excess <= 0).all(), f"row {worst}: {actual[worst]} instead of {expected[worst]}"


def assert_same_actions(
    agent: Any,
    actual: np.ndarray,
    expected: np.ndarray,
    scores: np.ndarray,
    observations: Any,
    masks: np.ndarray | None = None,
) -> None:
    """
    Compares (n, ...) actions with those of SB3's agent.

    Choices may differ where its scores, (n, k), do not decide; others by what the rounding of the scores makes of
    them: as much again if they are clipped, half the range if they are squashed.
    """
    assert actual.shape == expected.shape
    space = agent.action_space
    rounding = score_tolerance(scores, observations)
    if not isinstance(space, Box):
        allowed = scores if masks is None else np.where(masks, scores, -np.inf)
        first = 0
        chosen, wanted = (actions.reshape(len(scores), -1) for actions in (actual, expected))
        for place, size in enumerate(_sizes(space, scores.shape[1])):
            part = allowed[:, first : first + size]
            _assert_same_choices(chosen[:, place], wanted[:, place], part, rounding[:, 0])
            first += size
        return
    span = space.high.astype(np.float64) - space.low
    span = np.where(np.isfinite(span), span, 2.0)
    gain = span / 2 if agent.policy.squash_output else 1.0
    excess = np.abs(actual - expected) - ACTION * span - gain * rounding.reshape(-1, *[1] * len(space.shape))
    worst = int(excess.reshape(len(excess), -1).max(axis=1).argmax())
    assert (excess <= 0).all(), f"row {worst}: {actual[worst]} instead of {expected[worst]}"


def _sizes(space: Any, scores: int) -> list[int]:
    """
    How many scores decide each choice: of a bit one, or two where it may be masked.
    """
    match space:
        case Discrete():
            return [scores]
        case MultiDiscrete():
            return list(space.nvec)
        case MultiBinary():
            return [scores // space.n] * space.n
    raise TypeError(space)


def _assert_same_choices(actual: np.ndarray, expected: np.ndarray, scores: np.ndarray, rounding: np.ndarray) -> None:
    """
    Compares one choice, (n,); one score, that of a bit, is compared with 0.
    """
    rivals = np.pad(scores, ((0, 0), (1, 0)), constant_values=0.0 if scores.shape[1] == 1 else -np.inf)
    best = np.sort(rivals, axis=1)[:, -2:]
    nothing = np.isneginf(best).all(axis=1)
    with np.errstate(invalid="ignore"):
        decided = nothing | (best[:, 1] - best[:, 0] > rounding)
    assert len(decided) < FEW or (~decided).mean() <= MOST_UNDECIDED
    wrong = np.flatnonzero(decided & (actual != expected))
    assert not len(wrong), f"row {wrong[0]}: {actual[wrong[0]]} instead of {expected[wrong[0]]}"
