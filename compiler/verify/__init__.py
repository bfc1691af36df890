"""
Compares a predictor with the model that it was made from, before anybody relies on it.

The model is computed by NumPy in float64, node by node; the predictor answers the same observations one at a time, in
batches of sizes around the kernels' blocks, and all at once. `compiler/tolerances.py` says how near is near enough.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from compiler.errors import VerificationError, quote
from compiler.ir import Model
from compiler.ops import Array
from compiler.options import BuildOptions
from compiler.tolerances import ACTION_RELATIVE, SCORE_RELATIVE
from compiler.verify.comparison import Difference, Predictor, Tally, compare_batch, compare_single, show
from compiler.verify.diagnosis import first_wrong_layer
from compiler.verify.observations import Observations, finite_observations, nonfinite_observations
from compiler.verify.reference import answers, policy_of

__all__ = ["Predictor", "Verification", "verify"]

BATCH_SIZES = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000)
SEED = 20_240_229


@dataclass(frozen=True)
class Verification:
    """
    What a comparison found: that nothing differs, and how near everything was.
    """

    observations: int
    """How many were answered, each alone and in batches."""
    action_error: float
    """The worst error of a continuous action, relative to the range of the action space; 0 for choices."""
    score_error: float
    """The worst error of a score, relative to the observation's largest."""
    near_ties: int
    """Observations for which another action was chosen than the reference's, equally good up to rounding."""
    ill_conditioned: int
    """Observations whose answer cannot be had more exactly in float32 (differences of huge numbers)."""
    overflowing: int
    """Observations that overflow float32 on the way: answered, not compared."""
    refused: int
    """Observations with NaN or infinity that the predictor refused, as it must."""

    def to_json(self) -> dict[str, Any]:
        """
        All fields as plain JSON values.
        """
        return asdict(self)

    def to_manifest(self) -> dict[str, Any]:
        """
        What does not depend on the machine: the bounds that hold, not the errors that were measured.
        """
        return {
            "observations": self.observations,
            "action_error_below": ACTION_RELATIVE,
            "score_error_below": SCORE_RELATIVE,
        }


def verify(
    source: Model, compiled: Model, predictor: Predictor, options: BuildOptions, large_batch: int = 0
) -> Verification:
    """
    Compares a predictor with its source.

    Args:
        source: the model as the frontend read it.
        compiled: the model after the passes: what the predictor's layers are named after.
        predictor: the imported package.
        options: those it was built with.
        large_batch: so many observations are asked for at once as well; those above some thousands are split over
            threads, by kernels that take seconds to compile.

    Raises:
        VerificationError: at the first observation that is answered wrongly, naming the first layer that differs.
    """
    space = policy_of(source).observation_space
    observations = finite_observations(space, options.verify_observations, SEED)
    special = nonfinite_observations(space, SEED)
    refused = 0
    if special is not None and options.nonfinite == "propagate":
        observations = Observations.join(observations, special)
    elif special is not None:
        _expect_refusal(source, predictor, special, observations)
        refused = len(special)
    expected = answers(source, observations.values, SEED)
    overflowing = observations.only(~expected.compared)
    observations, expected = observations.only(expected.compared), expected.only(expected.compared)
    tally = Tally()
    calls = Calls(source, compiled, predictor, observations)
    for size, start in _batches(len(observations)):
        ask = partial(compare_batch, predictor, observations, expected, start, size, tally)
        calls.check(ask, start, f"in a batch of {size}")
    for row in range(len(observations)):
        calls.check(partial(compare_single, predictor, observations, expected, row, tally), row, "alone")
    if large_batch:
        rows = np.arange(large_batch) % len(observations)
        many, right = observations.only(rows), expected.only(rows)
        ask = partial(compare_batch, predictor, many, right, 0, large_batch, Tally())
        Calls(source, compiled, predictor, many).check(ask, 0, f"in a batch of {large_batch}")
    _expect_determinism(source, predictor, observations)
    Calls(source, compiled, predictor, overflowing).survive(options)
    return Verification(
        observations=len(observations),
        action_error=tally.action_error,
        score_error=tally.score_error,
        near_ties=len(tally.near_ties),
        ill_conditioned=len(tally.ill_conditioned),
        overflowing=len(overflowing),
        refused=refused,
    )


def _batches(count: int) -> Iterator[tuple[int, int]]:
    """
    Every size once, from changing starts, so that other observations meet the ends of blocks; then all at once.
    """
    for number, size in enumerate(size for size in BATCH_SIZES if size < count):
        yield size, (number * 97) % (count - size + 1)
    yield count, 0


@dataclass(frozen=True)
class Calls:
    """
    Runs comparisons and turns what goes wrong into a VerificationError.
    """

    source: Model
    compiled: Model
    predictor: Predictor
    observations: Observations

    def check(self, compare: Callable[[], Difference | None], row: int, how: str) -> None:
        """
        Runs one comparison; `row` is the first observation that it asks for, `how` says in which company.
        """
        try:
            difference = compare()
        except Exception as error:
            difference = Difference(row, f"the predictor raised {type(error).__name__}: {quote(str(error), 300)}")
        if difference is not None:
            raise self._error(difference, how)

    def survive(self, options: BuildOptions) -> None:
        """
        Asks for observations that overflow float32 on the way: any answer will do.

        So will a refusal where observations that are not finite are refused as well.
        """
        for row, observation in enumerate(self.observations.values):
            try:
                self.predictor.predict(observation)
            except Exception as error:
                if isinstance(error, ValueError) and options.nonfinite == "raise":
                    continue
                text = f"the predictor raised {type(error).__name__}: {quote(str(error), 300)}"
                raise self._error(Difference(row, text), "alone") from error

    def _error(self, difference: Difference, how: str) -> VerificationError:
        observation = self.observations.values[difference.row]
        kind = self.observations.kinds[difference.row]
        lines = (
            f"the predictor does not give what its source gives: {difference.text}",
            f"observation ({kind}), asked {how}: {show(observation)}",
            self._diagnosis(observation),
        )
        return VerificationError(self.source.origin.file, "\n  ".join(lines))

    def _diagnosis(self, observation: Array) -> str:
        try:
            return first_wrong_layer(self.source, self.compiled, self.predictor, observation, SEED)
        except Exception as error:  # a broken predictor may break here too; the finding above stands
            return f"its layers can't be computed: {type(error).__name__}: {quote(str(error), 300)}"


def _expect_refusal(source: Model, predictor: Predictor, special: Observations, finite: Observations) -> None:
    """
    Every observation with NaN or infinity must raise ValueError, alone and as the last of a batch.
    """
    for row, kind in enumerate(special.kinds):
        bad = special.values[row]
        batch = np.concatenate([finite.values[:2], bad[None]])
        for name, call, observation in (
            ("predict", predictor.predict, bad),
            ("act", predictor.act, bad),
            ("predict in a batch", predictor.predict, batch),
        ):
            try:
                outcome = f"returned {quote(call(observation))}"
            except ValueError:
                continue
            except Exception as error:
                outcome = f"raised {type(error).__name__}: {quote(str(error), 300)}"
            raise VerificationError(
                source.origin.file,
                f"{name} must raise ValueError for an observation with {kind}, but {outcome}; asked: {show(bad)}",
            )


def _expect_determinism(source: Model, predictor: Predictor, observations: Observations) -> None:
    first, second = predictor.scores(observations.values), predictor.scores(observations.values)
    if first.tobytes() != second.tobytes():
        raise VerificationError(source.origin.file, "the same observations gave other scores when asked again")
