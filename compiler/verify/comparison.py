"""
One batch, or one observation, of a predictor against the answers it must give.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from compiler.ops import Array
from compiler.tolerances import ACTION_RELATIVE, SCORE_RELATIVE
from compiler.verify.observations import Observations
from compiler.verify.reference import Answers


class Predictor(Protocol):
    """
    The face of a generated package, as far as it is compared.
    """

    SPEC: dict[str, Any]

    def predict(self, observation: Any) -> tuple[Any, Any]:
        """
        The action, in SB3's shape and dtype, and the recurrent state.
        """

    def act(self, observation: Any) -> Any:
        """
        The action for one observation.
        """

    def scores(self, observation: Any) -> Any:
        """
        What the action is chosen from.
        """

    def layers(self, observation: Any) -> dict[str, Any]:
        """
        Every value that is computed on the way, by the tensor's name.
        """


@dataclass(frozen=True)
class Difference:
    """
    The first observation of a call that is answered wrongly.
    """

    row: int
    text: str
    """What was asked, what came back, what is right."""


@dataclass
class Tally:
    """
    What has been seen over all calls.
    """

    action_error: float = 0.0
    """The worst of a continuous action, relative to the range; of well-conditioned observations."""
    score_error: float = 0.0
    """The worst of a score, relative to the observation's largest; of well-conditioned observations."""
    near_ties: set[int] = field(default_factory=set)
    """Observations for which another action than the reference's was chosen, as good up to rounding."""
    ill_conditioned: set[int] = field(default_factory=set)
    """Observations whose answer float32 cannot give as exactly as the tolerances ask."""


def compare_batch(
    predictor: Predictor, observations: Observations, answers: Answers, start: int, size: int, tally: Tally
) -> Difference | None:
    """
    Asks for `size` observations from `start` on in one call.
    """
    rows = slice(start, start + size)
    batch, expected = observations.values[rows], answers.only(rows)
    action, state = predictor.predict(batch)
    scores = predictor.scores(batch)
    text = _type_difference("predict", action, expected.actions) or _score_type_difference(scores, expected.scores)
    if text or state is not None:
        return Difference(start, text or f"predict returned the state {state!r}, expected None")
    for found in _differences(action, scores, expected, start, tally):
        return found
    return None


def compare_single(
    predictor: Predictor, observations: Observations, answers: Answers, row: int, tally: Tally
) -> Difference | None:
    """
    Asks for one observation alone, through `predict`, `act` and `scores`.
    """
    observation, expected = observations.values[row], answers.only(slice(row, row + 1))
    action, _ = predictor.predict(observation)
    shortest = predictor.act(observation)
    scores = predictor.scores(observation)
    text = _type_difference("predict", action, expected.actions[0]) or _score_type_difference(
        scores, expected.scores[0]
    )
    if not text and expected.discrete and type(shortest) is not int:
        text = f"act returned {type(shortest).__name__}, expected int"
    if not text and not expected.discrete:
        text = _type_difference("act", shortest, expected.actions[0])
    if text:
        return Difference(row, text)
    for answer in (action, np.asarray(shortest)):
        for found in _differences(answer[None], scores[None], expected, row, tally):
            return found
    return None


def _type_difference(what: str, found: Any, expected: Array, dtype: np.dtype[Any] | None = None) -> str:
    dtype = dtype or expected.dtype
    if not isinstance(found, np.ndarray):
        return f"{what} returned {type(found).__name__}, expected numpy.ndarray"
    if (found.dtype, found.shape) != (dtype, expected.shape):
        return f"{what} returned {found.dtype}{found.shape}, expected {dtype}{expected.shape}"
    return ""


def _score_type_difference(found: Any, expected: Array) -> str:
    return _type_difference("scores", found, expected, np.dtype(np.float32))


def _differences(actions: Array, scores: Array, expected: Answers, start: int, tally: Tally) -> Iterator[Difference]:
    """
    Scores first: they are wrong long before an argmax is.
    """
    with np.errstate(all="ignore"):
        good = _good_scores(scores, expected, start, tally)
        if not good.all():
            row = int(np.argmin(good))
            found, right = show(scores[row]), show(expected.scores[row])
            yield Difference(start + row, f"scores: found {found}, expected {right}")
        good = (_good_choices if expected.discrete else _good_values)(actions, expected, start, tally)
        if not good.all():
            row = int(np.argmin(good))
            found, right = show(np.asarray(actions[row])), show(np.asarray(expected.actions[row]))
            text = f"action: found {found}, expected {right} (scores {show(expected.scores[row])})"
            yield Difference(start + row, text)


def _good_scores(scores: Array, expected: Answers, start: int, tally: Tally) -> Array:
    error = _error(scores, expected.scores) / expected.score_scale
    slack = expected.score_slack / expected.score_scale
    return _within(error, slack, SCORE_RELATIVE, expected.compared, start, tally, "score_error")


def _good_values(actions: Array, expected: Answers, start: int, tally: Tally) -> Array:
    error = _error(actions, expected.actions) / expected.action_scale
    slack = expected.action_slack / expected.action_scale
    return _within(error, slack, ACTION_RELATIVE, expected.compared, start, tally, "action_error")


def _good_choices(actions: Array, expected: Answers, start: int, tally: Tally) -> Array:
    same = actions == expected.actions
    tied = ~same & expected.acceptable(actions) & expected.compared
    tally.near_ties |= {start + int(row) for row in np.flatnonzero(tied)}
    good: Array = same | tied | ~expected.compared
    return good


def _within(
    error: Array, slack: Array, tolerance: float, compared: Array, start: int, tally: Tally, name: str
) -> Array:
    """
    Which observations are near enough; the worst error of those that are not ill-conditioned goes into the tally.
    """
    error, slack = error.reshape(len(error), -1), slack.reshape(len(slack), -1)
    good: Array = (error <= np.maximum(tolerance, slack)).all(axis=1) | ~compared
    well = (slack <= tolerance).all(axis=1)
    tally.ill_conditioned |= {start + int(row) for row in np.flatnonzero(~well & compared)}
    counted = error[well & compared & good]
    if counted.size:
        setattr(tally, name, max(getattr(tally, name), float(counted.max())))
    return good


def _error(found: Array, expected: Array) -> Array:
    """
    The absolute difference; 0 where both are NaN or the same infinity, infinity where only one is.
    """
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    difference = np.abs(found.astype(np.float64) - expected)
    result: Array = np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))
    return result


def show(array: Array, most: int = 16) -> str:
    """
    Values as a user would type them, the first `most` of them.
    """
    flat = array.reshape(-1)
    texts = [f"{value:.9g}" if flat.dtype.kind == "f" else str(value) for value in flat[:most].tolist()]
    more = f", ... {flat.size - most} more" if flat.size > most else ""
    return texts[0] if array.ndim == 0 else f"[{', '.join(texts)}{more}]"
