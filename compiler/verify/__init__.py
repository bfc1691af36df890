"""
Compares a predictor with the model that it was made from, before anybody relies on it.

The model is computed by NumPy in float64, node by node; the predictor answers the same cases one at a time, in batches
of sizes around the kernels' blocks, and all at once. `compiler/tolerances.py` says how near is near enough.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from compiler.errors import VerificationError, quote
from compiler.frontends.source import Ask
from compiler.ir import Model
from compiler.options import BuildOptions
from compiler.tolerances import ACTION_RELATIVE, SCORE_RELATIVE
from compiler.verify.answers import answers
from compiler.verify.asking import Predictor, shown, single_of
from compiler.verify.cases import Cases, cases_out_of_range, finite_cases, nonfinite_cases
from compiler.verify.comparison import Difference, Examination, Tally
from compiler.verify.diagnosis import first_wrong_layer
from compiler.verify.distributions import check_distribution
from compiler.verify.episodes import check_episodes
from compiler.verify.general import GeneralPredictor, compare_general
from compiler.verify.refusals import expect_determinism, expect_refusal

__all__ = ["Predictor", "Verification", "verify", "worst"]

BATCH_SIZES = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000)
SEED = 20_240_229
LARGEST_BATCH = 2**24
"""Elements of the observations that are asked for at once: 64 MB in float32."""


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
    """The worst error of a score, a recurrent state, a value or any output, relative to the largest beside it."""
    near_ties: int
    """Observations for which another action was chosen than the reference's, equally good up to rounding."""
    ill_conditioned: int
    """Observations whose answer cannot be had more exactly in float32 (differences of huge numbers)."""
    overflowing: int
    """Observations that overflow float32 on the way: answered, not compared."""
    refused: int
    """Observations with NaN, infinity or an impossible choice that the predictor refused, as it must."""
    policy: bool = True
    """Whether the model is a policy; all others have outputs, and no actions."""
    batched: bool = True
    """Whether it takes batches, and was asked for them too."""

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
    source: Model,
    compiled: Model,
    predictor: Predictor,
    options: BuildOptions,
    large_batch: int = 0,
    ask: Ask | None = None,
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
        ask: asks the source program of a model that is no policy, where it is at hand.

    Raises:
        VerificationError: at the first observation that is answered wrongly, naming the first layer that differs.
    """
    if source.policy is None:
        return verify_general(source, compiled, cast(GeneralPredictor, predictor), options, SEED, ask)
    cases = finite_cases(source, options.verify_observations, SEED)
    special, impossible = nonfinite_cases(source, cases, SEED), cases_out_of_range(source, cases)
    if special is not None and options.nonfinite == "propagate":
        cases, special = Cases.join(cases, special), None
    refused = [part for part in (special, impossible) if part is not None]
    for part in refused:
        expect_refusal(source, predictor, part, cases)
    expected = answers(source, cases, SEED)
    overflowing = cases.only(~expected.compared)
    cases, expected = cases.only(expected.compared), expected.only(expected.compared)
    tally = Tally()
    examination = Examination(source, predictor, cases, expected, tally)
    calls = Calls(source, compiled, predictor, cases)
    for size, start in _batches(len(cases)):
        calls.check(partial(examination.batch, start, size), start, f"in a batch of {size}")
    for row in range(len(cases)):
        calls.check(partial(examination.single, row), row, "alone")
    if large_batch:
        elements = sum(source.tensors[name].elements for name in source.inputs)
        size = max(1, min(large_batch, LARGEST_BATCH // elements))
        rows = np.arange(size) % len(cases)
        many = Examination(source, predictor, cases.only(rows), expected.only(rows), Tally())
        Calls(source, compiled, predictor, many.cases).check(partial(many.batch, 0, size), 0, f"in a batch of {size}")
    if source.states:
        check_episodes(source, predictor, cases, SEED, tally)
    check_distribution(source, predictor, cases, expected)
    expect_determinism(source, predictor, cases)
    Calls(source, compiled, predictor, overflowing).survive(options)
    return Verification(
        observations=len(cases),
        action_error=tally.action_error,
        score_error=tally.score_error,
        near_ties=len(tally.near_ties),
        ill_conditioned=len(tally.ill_conditioned),
        overflowing=len(overflowing),
        refused=sum(map(len, refused)),
    )


def verify_general(
    source: Model, compiled: Model, predictor: GeneralPredictor, options: BuildOptions, seed: int, ask: Ask | None
) -> Verification:
    """
    Compares a predictor whose model is no policy.
    """
    count, error, hard = compare_general(source, compiled, predictor, options, seed, ask)
    return Verification(
        observations=count,
        action_error=0.0,
        score_error=error,
        near_ties=0,
        ill_conditioned=hard,
        overflowing=0,
        refused=0,
        policy=False,
        batched=source.batched,
    )


def worst(found: Sequence[Verification]) -> Verification:
    """
    Of the comparisons of several forms of one predictor, that with the largest error.
    """
    return max(found, key=lambda one: (one.action_error, one.score_error))


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
    cases: Cases

    def check(self, compare: Callable[[], Difference | None], row: int, how: str) -> None:
        """
        Runs one comparison; `row` is the first case that it asks for, `how` says in which company.
        """
        try:
            difference = compare()
        except Exception as error:
            difference = Difference(row, f"the predictor raised {type(error).__name__}: {quote(str(error), 300)}")
        if difference is not None:
            raise self._error(difference, how)

    def survive(self, options: BuildOptions) -> None:
        """
        Asks for cases that overflow float32 on the way: any answer will do.

        So will a refusal where observations that are not finite are refused as well.
        """
        for row in range(len(self.cases)):
            question = single_of(self.source, self.cases, row)
            try:
                self.predictor.predict(question.observation, **question.others)
            except Exception as error:
                if isinstance(error, ValueError) and options.nonfinite == "raise":
                    continue
                text = f"the predictor raised {type(error).__name__}: {quote(str(error), 300)}"
                raise self._error(Difference(row, text), "alone") from error

    def _error(self, difference: Difference, how: str) -> VerificationError:
        case = self.cases.only(slice(difference.row, difference.row + 1))
        lines = (
            f"the predictor does not give what its source gives: {difference.text}",
            f"observation ({case.kinds[0]}), asked {how}: {shown(single_of(self.source, case, 0))}",
            self._diagnosis(case),
        )
        return VerificationError(self.source.origin.file, "\n  ".join(lines))

    def _diagnosis(self, case: Cases) -> str:
        try:
            return first_wrong_layer(self.source, self.compiled, self.predictor, case, SEED)
        except Exception as error:  # a broken predictor may break here too; the finding above stands
            return f"its layers can't be computed: {type(error).__name__}: {quote(str(error), 300)}"
