"""
Two answers to the same cases, the predictor's and SB3's: both may be off by what float32 does.
"""

import numpy as np

from compiler.errors import VerificationError
from compiler.ir import Model
from compiler.ops import Array
from compiler.ops.choices import segments
from compiler.verify.answers import Answers, Expected
from compiler.verify.asking import show, shown, single_of
from compiler.verify.cases import Cases


class Comparison:
    """
    Compares answers to some cases, and remembers how near they were.

    Attributes:
        action_error: the worst of a continuous action, relative to its range.
        score_error: the worst of a score, a state or a value, relative to the largest beside it.
        near_ties: the cases in which both chose differently, and as well.
    """

    def __init__(self, where: str, model: Model, cases: Cases, answers: Answers) -> None:
        self.where, self.model, self.cases, self.answers = where, model, cases, answers
        self.action_error = self.score_error = 0.0
        self.near_ties: set[int] = set()

    def check_types(self, how: str, own: Array, theirs: Array) -> None:
        """
        Compares shape and dtype of an action.
        """
        if (own.shape, own.dtype) != (theirs.shape, theirs.dtype):
            raise VerificationError(
                self.where,
                f"asked {how}, the predictor returns {own.dtype}{own.shape}, SB3 {theirs.dtype}{theirs.shape}",
            )

    def check_actions(self, how: str, own: Array, theirs: Array) -> None:
        """
        Compares the actions for all cases.
        """
        self.check_types(how, own, theirs)
        if self.answers.choices is not None:
            same = (own == theirs).reshape(len(own), -1).all(axis=1)
            tied = ~same & self.answers.choices.acceptable(theirs) & self.answers.choices.acceptable(own)
            self.near_ties |= {int(row) for row in np.flatnonzero(tied)}
            self._expect(how, "action", same | tied, own, theirs)
            return
        assert self.answers.action is not None
        self.action_error = max(self.action_error, self._worst(how, "action", self.answers.action, own, theirs))

    def check_states(self, how: str, own: dict[str, Array], theirs: dict[str, Array]) -> None:
        """
        Compares the states after the step, by name.
        """
        for name, expected in self.answers.states.items():
            self.check_types(f"{how} for the state {name}", own[name], theirs[name])
            worst = self._worst(how, f"state {name}", expected, own[name], theirs[name])
            self.score_error = max(self.score_error, worst)

    def check_scores(self, own: Array, theirs: Array) -> None:
        """
        Compares scores, (n, k); of choices by how far each is from the others, since SB3 normalises its logits.
        """
        choices, expected = self.answers.choices, self.answers.scores
        if choices is not None and own.shape[1] == sum(choices.sizes):
            own, theirs = _normalised(own, choices.sizes), _normalised(theirs, choices.sizes)
        slack = np.broadcast_to(expected.slack.max(axis=1, keepdims=True), own.shape)
        widened = Expected(expected.values, expected.scale, slack, expected.tolerance)
        worst = self._worst("in one batch", "scores", widened, own, theirs)
        self.score_error = max(self.score_error, worst)

    def check_values(self, own: Array, theirs: Array) -> None:
        """
        Compares the critic's estimates, (n, 1).
        """
        worst = self._worst("in one batch", "value", self.answers.others["value"], own, theirs)
        self.score_error = max(self.score_error, worst)

    def _worst(self, how: str, what: str, expected: Expected, own: Array, theirs: Array) -> float:
        """
        Both sides may be as far from the float64 reference as the tolerance says, and so twice as far from each other.
        """
        rows = len(own)
        with np.errstate(all="ignore"):
            error = np.where(own == theirs, 0, np.abs(own.astype(np.float64) - theirs)) / expected.scale
            slack = expected.slack / expected.scale
        good = np.asarray((error <= 2 * np.maximum(expected.tolerance, slack)).reshape(rows, -1).all(axis=1))
        self._expect(how, what, good, own, theirs)
        well = error[(slack <= expected.tolerance).reshape(rows, -1).all(axis=1)]
        return float(well.max()) if well.size else 0.0

    def _expect(self, how: str, what: str, good: Array, own: Array, theirs: Array) -> None:
        if good.all():
            return
        row = int(np.argmin(good))
        raise VerificationError(
            self.where,
            f"{what}: the predictor gives {show(np.asarray(own[row]))}, SB3 {show(np.asarray(theirs[row]))}; "
            f"{int((~good).sum())} of {good.size} observations differ\n"
            f"  observation ({self.cases.kinds[row]}), asked {how}: {shown(single_of(self.model, self.cases, row))}",
        )


def _normalised(scores: Array, sizes: tuple[int, ...]) -> Array:
    wide = scores.astype(np.float64)
    result = np.empty(wide.shape)
    with np.errstate(all="ignore"):
        for part in segments(wide.shape[1], sizes):
            shifted = wide[:, part] - wide[:, part].max(axis=1, keepdims=True)
            result[:, part] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
