"""
Actions that are chosen: which choices are as good as the reference's, up to rounding.
"""

from dataclasses import dataclass

import numpy as np

from compiler.ir import ACTION_MASKS, Discrete, Model, MultiBinary
from compiler.ops import Array
from compiler.ops.choices import MASKED, segments
from compiler.tolerances import TIE
from compiler.verify.cases import choice_sizes, policy_of


@dataclass(frozen=True)
class Choices:
    """
    The right choices for n cases, and the scores that they were made by.
    """

    sizes: tuple[int, ...]
    """How many values each choice has."""
    chosen: Array
    """(n, choices) int64: the reference's."""
    scores: Array
    """(n, sum of the sizes) float64; minus infinity where a mask forbids."""
    allowed: Array
    """(n, 1): how far two scores may be apart that are equal up to rounding."""

    def only(self, rows: slice | Array) -> "Choices":
        """
        The same for some of the cases.
        """
        return Choices(self.sizes, self.chosen[rows], self.scores[rows], self.allowed[rows])

    def acceptable(self, actions: Array) -> Array:
        """
        For actions of n cases: which are the reference's, or as good in each of their choices; (n,) bool.
        """
        found = actions.reshape(len(self.chosen), -1)
        good = np.ones(len(found), dtype=bool)
        with np.errstate(all="ignore"):
            for place, part in enumerate(segments(self.scores.shape[1], self.sizes)):
                good &= self._acceptable(found[:, place], self.chosen[:, place], self.scores[:, part])
        return good

    def _acceptable(self, found: Array, right: Array, scores: Array) -> Array:
        rows = np.arange(len(found))
        inside = (found >= 0) & (found < scores.shape[1])
        place = np.where(inside, found, 0).astype(np.int64)
        near: Array = np.abs(scores[rows, right] - scores[rows, place]) <= self.allowed[:, 0]
        result: Array = (found == right) | (inside & near)
        return result


def choices_of(model: Model, values: dict[str, Array], masks: Array | None, slack: Array) -> Choices | None:
    """
    The right choices; None for a policy whose actions are values.

    Args:
        model: the policy.
        values: of its tensors.
        masks: (n, choices) bool, if the policy takes them.
        slack: (n, k): how far each score may be off, by conditioning alone.
    """
    space = policy_of(model).action_space
    action, output = model.output("action"), model.output("scores")
    assert action is not None
    assert output is not None
    if not isinstance(space, Discrete | MultiBinary) and not hasattr(space, "nvec"):
        return None
    scores = values[output.tensor]
    chosen = values[action.tensor].reshape(len(scores), -1)
    largest = np.where(np.isfinite(scores), np.abs(scores), 0).max(axis=1, keepdims=True)
    allowed = np.maximum(TIE * np.maximum(largest, 1), 2 * slack.max(axis=1, keepdims=True))
    sizes = choice_sizes(space, scores.shape[1])
    if isinstance(space, MultiBinary) and set(sizes) == {1}:
        # One logit for each bit is a choice between it and 0.
        sizes, scores = (2,) * len(sizes), np.stack([np.zeros_like(scores), scores], axis=2).reshape(len(scores), -1)
    if masks is not None:
        scores = np.where(masks, scores, -np.inf)
    with np.errstate(all="ignore"):
        return Choices(sizes, np.nan_to_num(chosen).astype(np.int64), scores, allowed)


def masks_decide(model: Model, scores: Array, masks: Array | None) -> Array:
    """
    Whether the logit that SB3 gives to what is forbidden lies below that of what is allowed; (n,) bool.

    Logits so far apart that it does not would let SB3 choose what is forbidden; predictors never do.
    """
    decided = np.ones(len(scores), dtype=bool)
    if masks is None:
        return decided
    with np.errstate(all="ignore"):
        for part in segments(scores.shape[1], choice_sizes(policy_of(model).action_space, scores.shape[1])):
            largest = scores[:, part].max(axis=1)
            best = np.where(masks[:, part], scores[:, part], -np.inf).max(axis=1)
            decided &= ~masks[:, part].any(axis=1) | ~(best - largest <= MASKED / 10)
    return decided


def masks_in(values: dict[str, Array]) -> Array | None:
    """
    The action masks among the inputs of a policy.
    """
    return values.get(ACTION_MASKS)
