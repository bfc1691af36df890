"""
What a predictor must not answer: observations that are not finite, choices that a space does not have.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from compiler.errors import VerificationError, quote
from compiler.ir import Model
from compiler.verify.asking import Predictor, Question, batch_of, shown, single_of
from compiler.verify.cases import Cases


def expect_refusal(source: Model, predictor: Predictor, special: Cases, finite: Cases) -> None:
    """
    Every one of some special cases must raise ValueError, alone and as the last of a batch.

    Args:
        source: the policy as it was read.
        predictor: the imported package.
        special: what must be refused.
        finite: what stands before it in a batch.

    Raises:
        VerificationError: for the first that is answered, or refused otherwise.
    """
    for row, kind in enumerate(special.kinds):
        alone = single_of(source, special, row)
        batch = batch_of(source, Cases.join(finite.only(slice(0, 2)), special.only(slice(row, row + 1))))
        for name, call in _calls(predictor, alone, batch):
            try:
                outcome = f"returned {quote(call())}"
            except ValueError:
                continue
            except Exception as error:
                outcome = f"raised {type(error).__name__}: {quote(str(error), 300)}"
            raise VerificationError(
                source.origin.file,
                f"{name} must raise ValueError for an observation with {kind}, but {outcome}; asked: {shown(alone)}",
            )


def _calls(predictor: Predictor, alone: Question, batch: Question) -> Iterator[tuple[str, Callable[[], Any]]]:
    start = alone.memory.get("episode_start")
    memory = {**alone.memory, "episode_start": start is not None and bool(start[0])} if alone.memory else {}
    yield "predict", lambda: predictor.predict(alone.observation, **alone.others)
    yield "act", lambda: predictor.act(alone.observation, **alone.masks, **memory)
    yield "predict in a batch", lambda: predictor.predict(batch.observation, **batch.others)


def expect_determinism(source: Model, predictor: Predictor, cases: Cases) -> None:
    """
    The same cases must give the same scores, bit by bit, when asked again.

    Raises:
        VerificationError: if they do not.
    """
    question = batch_of(source, cases)
    first, second = (np.asarray(predictor.scores(question.observation, **question.memory)) for _ in range(2))
    if first.tobytes() != second.tobytes():
        raise VerificationError(source.origin.file, "the same observations gave other scores when asked again")
