"""
A recurrent policy over the steps of an episode: what `Episode` and a state that is fed back must give.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.errors import VerificationError, quote
from compiler.ir import EPISODE_STARTS, Model
from compiler.ops import Array
from compiler.verify.answers import Answers, answers
from compiler.verify.asking import Predictor, show, single_of
from compiler.verify.cases import Cases
from compiler.verify.comparison import Examination, Tally
from compiler.verify.reference import steps

STEPS = 20


def check_episodes(source: Model, predictor: Predictor, cases: Cases, seed: int, tally: Tally) -> None:
    """
    Acts through episodes that end in the middle, with a second one beside, and compares with the reference.

    Args:
        source: a policy with states, as it was read.
        predictor: the imported package.
        cases: where the observations come from.
        seed: of the perturbations that show the conditioning.
        tally: takes the errors.

    Raises:
        VerificationError: at the first step whose action is wrong.
    """
    few = cases.only(np.arange(min(STEPS, len(cases))))
    end = len(few) // 2
    starts = np.zeros(len(few), np.float32)
    starts[[0, end]] = 1
    few = few.replaced(**{EPISODE_STARTS: starts})
    expected = answers(source, few, seed, steps)
    if not expected.compared.all():  # what overflows once stays in the state
        return
    for how, player in (("by Episode", _episode), ("by predict", _chain)):
        try:
            act = player(source, predictor, few)
            actions = [np.asarray(act(row)) for row in range(len(few))]
            difference = _compare(source, predictor, few, expected, actions, tally)
        except Exception as error:
            difference = f"the predictor raised {type(error).__name__}: {quote(str(error), 300)}"
        if difference:
            raise VerificationError(source.origin.file, f"an episode played {how}: {difference}")


def _episode(source: Model, predictor: Any, cases: Cases) -> Callable[[int], Any]:
    """
    Acts with one `Episode`, while another one sees the same backwards.
    """
    played, other = predictor.Episode(), predictor.Episode()

    def act(row: int) -> Any:
        other.act(single_of(source, cases, len(cases) - 1 - row).observation)
        if row and cases.values[EPISODE_STARTS][row]:
            played.reset()
        return played.act(single_of(source, cases, row).observation)

    return act


def _chain(source: Model, predictor: Predictor, cases: Cases) -> Callable[[int], Any]:
    """
    Acts with `predict`, giving back the state that it returned.
    """
    state = None

    def act(row: int) -> Any:
        nonlocal state
        start = cases.values[EPISODE_STARTS][row : row + 1].astype(bool)
        observation = single_of(source, cases, row).observation
        action, state = predictor.predict(observation, state=state, episode_start=start)
        return action

    return act


def _compare(
    source: Model, predictor: Predictor, cases: Cases, expected: Answers, actions: list[Array], tally: Tally
) -> str:
    for row, (action, right) in enumerate(zip(actions, expected.actions, strict=True)):
        if action.shape != right.shape:
            return f"step {row} gave an action of shape {action.shape}, expected {right.shape}"
    good = Examination(source, predictor, cases, expected, tally).good_actions(np.stack(actions), expected, 0)
    if good.all():
        return ""
    row = int(np.argmin(good))
    return f"step {row} of {len(actions)} gave {show(actions[row])}, expected {show(np.asarray(expected.actions[row]))}"
