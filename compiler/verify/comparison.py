"""
One batch, or one observation, of a predictor against the answers it must give.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compiler.ir import Model
from compiler.ops import Array
from compiler.verify.answers import Answers, Expected, next_state
from compiler.verify.asking import Predictor, Question, batch_of, show, single_of
from compiler.verify.cases import Cases


@dataclass(frozen=True)
class Difference:
    """
    The first case of a call that is answered wrongly.
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
    """The worst of a continuous action, relative to the range; of well-conditioned cases."""
    score_error: float = 0.0
    """The worst of a score, a state or a value, relative to the largest beside it; of well-conditioned cases."""
    near_ties: set[int] = field(default_factory=set)
    """Cases for which another action than the reference's was chosen, as good up to rounding."""
    ill_conditioned: set[int] = field(default_factory=set)
    """Cases whose answer float32 cannot give as exactly as the tolerances ask."""


@dataclass(frozen=True)
class Examination:
    """
    A predictor, what it is asked, and what it must answer.
    """

    model: Model
    """The policy as it was read."""
    predictor: Predictor
    cases: Cases
    answers: Answers
    tally: Tally

    def batch(self, start: int, size: int) -> Difference | None:
        """
        Asks for `size` cases from `start` on in one call.
        """
        rows = slice(start, start + size)
        expected, question = self.answers.only(rows), batch_of(self.model, self.cases.only(rows))
        action, state = self.predictor.predict(question.observation, **question.others)
        scores = self.predictor.scores(question.observation, **question.memory)
        text = (
            type_difference("predict", action, expected.actions)
            or _score_type_difference(scores, expected.scores.values)
            or _state_type_difference(self.model, state, expected)
        )
        if text:
            return Difference(start, text)
        found = {"scores": scores, **self._others(question, expected), **_by_name(self.model, state)}
        return next(self._differences(action, found, expected, start), None)

    def single(self, row: int) -> Difference | None:
        """
        Asks for one case alone, through `predict`, `act` and `scores`.
        """
        expected, question = self.answers.only(slice(row, row + 1)), single_of(self.model, self.cases, row)
        action, state = self.predictor.predict(question.observation, **question.others)
        shortest, after = self._act(question)
        scores = self.predictor.scores(question.observation, **question.memory)
        text = (
            type_difference("predict", action, expected.actions[0])
            or _score_type_difference(scores, expected.scores.values[0])
            or _state_type_difference(self.model, state, expected)
            or _state_type_difference(self.model, after, expected, "act")
        )
        if not text and expected.one_choice and type(shortest) is not int:
            text = f"act returned {type(shortest).__name__}, expected int"
        if not text and not expected.one_choice:
            text = type_difference("act", shortest, expected.actions[0])
        if text:
            return Difference(row, text)
        others = {name: value[None] for name, value in self._others(question, expected).items()}
        for answer, left in ((action, state), (np.asarray(shortest), after)):
            found = {"scores": scores[None], **others, **_by_name(self.model, left)}
            for difference in self._differences(answer[None], found, expected, row):
                return difference
        return None

    def _act(self, question: Question) -> tuple[Any, Any]:
        if not self.model.states:
            return self.predictor.act(question.observation, **question.others), None
        start = question.memory["episode_start"]
        memory = {"state": question.memory["state"], "episode_start": start is not None and bool(start[0])}
        action, state = self.predictor.act(question.observation, **question.masks, **memory)
        return action, state

    def _others(self, question: Question, expected: Answers) -> dict[str, Array]:
        """
        What the predictor gives besides, as far as it has functions for it.
        """
        value = getattr(self.predictor, "value", None)
        if "value" not in expected.others or value is None:
            return {}
        return {"value": np.asarray(value(question.observation, **question.memory))[..., None]}

    def _differences(
        self, actions: Array, found: dict[str, Array], expected: Answers, start: int
    ) -> Iterator[Difference]:
        """
        Scores first: they are wrong long before an argmax is.
        """
        right = {"scores": expected.scores, **expected.others, **expected.states}
        with np.errstate(all="ignore"):
            for name, values in found.items():
                good = self._near(values, right[name], expected.compared, start, "score_error")
                if not good.all():
                    row = int(np.argmin(good))
                    text = f"{name}: found {show(values[row])}, expected {show(right[name].values[row])}"
                    yield Difference(start + row, text)
            good = self.good_actions(actions, expected, start)
            if not good.all():
                row = int(np.argmin(good))
                given, wanted = show(np.asarray(actions[row])), show(np.asarray(expected.actions[row]))
                text = f"action: found {given}, expected {wanted} (scores {show(expected.scores.values[row])})"
                yield Difference(start + row, text)

    def good_actions(self, actions: Array, expected: Answers, start: int) -> Array:
        """
        Which of the actions, (n, ...), are right for the cases from `start` on; (n,) bool.
        """
        if expected.action is not None:
            return self._near(actions, expected.action, expected.compared, start, "action_error")
        assert expected.choices is not None
        rows = len(actions)
        same = _same(actions, expected.actions).reshape(rows, -1).all(axis=1)
        tied = ~same & expected.choices.acceptable(actions) & expected.compared
        self.tally.near_ties |= {start + int(row) for row in np.flatnonzero(tied)}
        good: Array = same | tied | ~expected.compared
        return good

    def _near(self, found: Array, expected: Expected, compared: Array, start: int, name: str) -> Array:
        """
        Which cases are near enough; the worst error of those that are not ill-conditioned goes into the tally.
        """
        rows = len(found)
        error = (_error(found, expected.values) / expected.scale).reshape(rows, -1)
        slack = (expected.slack / expected.scale).reshape(rows, -1)
        good: Array = (error <= np.maximum(expected.tolerance, slack)).all(axis=1) | ~compared
        well = (slack <= expected.tolerance).all(axis=1)
        self.tally.ill_conditioned |= {start + int(row) for row in np.flatnonzero(~well & compared)}
        counted = error[well & compared & good]
        if counted.size:
            setattr(self.tally, name, max(getattr(self.tally, name), float(counted.max())))
        return good


def type_difference(what: str, found: Any, expected: Array, dtype: np.dtype[Any] | None = None) -> str:
    """
    What is wrong with the dtype or the shape of an array; empty if nothing is.
    """
    dtype = dtype or expected.dtype
    if not isinstance(found, np.ndarray):
        return f"{what} returned {type(found).__name__}, expected numpy.ndarray"
    if (found.dtype, found.shape) != (dtype, expected.shape):
        return f"{what} returned {found.dtype}{found.shape}, expected {dtype}{expected.shape}"
    return ""


def _score_type_difference(found: Any, expected: Array) -> str:
    return type_difference("scores", found, expected, np.dtype(np.float32))


def _state_type_difference(model: Model, state: Any, expected: Answers, what: str = "predict") -> str:
    if not model.states:
        return "" if state is None else f"{what} returned the state {state!r}, expected None"
    if not isinstance(state, tuple) or len(state) != 2:
        return f"{what} returned the state {type(state).__name__}, expected a tuple (h, c)"
    right = next_state(model, expected)
    texts = (type_difference(f"{what}: the state", own, part) for own, part in zip(state, right, strict=True))
    return next((text for text in texts if text), "")


def _by_name(model: Model, state: Any) -> dict[str, Array]:
    return {own.name: state[place % 2][place // 2] for place, own in enumerate(model.states)}


def _same(found: Array, expected: Array) -> Array:
    if expected.dtype.kind != "f":
        return np.asarray(found == expected)
    return np.asarray((found == expected) | (np.isnan(found) & np.isnan(expected)))


def _error(found: Array, expected: Array) -> Array:
    """
    The absolute difference; 0 where both are NaN or the same infinity, infinity where only one is.
    """
    difference = np.abs(found.astype(np.float64) - expected)
    result: Array = np.where(_same(found, expected), 0.0, np.where(np.isnan(difference), np.inf, difference))
    return result
