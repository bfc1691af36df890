"""
A predictor against Stable-Baselines3 itself: what `policyc verify --against CHECKPOINT --trust` does.

This is the one place that loads a checkpoint as its authors do, which executes what the file says.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler.compare_source.agent import Agent, loaded
from compiler.compare_source.comparison import Comparison
from compiler.compare_source.scores import scores_of, values_of
from compiler.errors import BuildError, VerificationError, quote
from compiler.ir import Model
from compiler.ops import Array
from compiler.verify import SEED
from compiler.verify.answers import answers
from compiler.verify.asking import Predictor, Question, batch_of, single_of, unpacked
from compiler.verify.cases import Cases

ENVIRONMENTS = 5
STEPS = 12


@dataclass(frozen=True)
class SourceComparison:
    """
    What comparing with Stable-Baselines3 found: that nothing differs, and how near everything was.
    """

    algorithm: str
    """The class that loaded the checkpoint."""
    observations: int
    action_error: float
    """The worst of a continuous action, relative to its range."""
    score_error: float | None
    """The worst of a logit, Q-value or mean, relative to the observation's largest; None where SB3 has none to show."""
    near_ties: int
    """Observations for which SB3 chooses another action that is as good up to rounding."""

    def to_json(self) -> dict[str, Any]:
        """
        All fields as plain JSON values.
        """
        return asdict(self)


def compare_source(
    predictor: Predictor,
    model: Model,
    cases: Cases,
    checkpoint: Path,
    *,
    vecnormalize: Path | None = None,
    trust: bool,
) -> SourceComparison:
    """
    Compares actions, their shapes and dtypes, states, and the values before an argmax, with those of SB3.

    Args:
        predictor: the imported package.
        model: the policy that it was made from, which says how well conditioned each case is and what is a near tie.
        cases: what both are asked, each alone and all in one batch.
        checkpoint: the `.zip` that it was built from.
        vecnormalize: the statistics that it was built with, for SB3's own VecNormalize.
        trust: that the user lets SB3 execute what the files say.

    Raises:
        PolicycError: the checkpoint is not trusted or can't be loaded, SB3 is not installed, or something differs.
    """
    if model.origin.vecnormalize and vecnormalize is None:
        raise BuildError(
            str(checkpoint),
            "the predictor normalises observations by the statistics of a VecNormalize file, and SB3 must do the same "
            "to be compared with it: name that file with --vecnormalize",
        )
    with loaded(checkpoint, vecnormalize, trust) as agent:
        return compare_agent(predictor, model, cases, agent, str(checkpoint))


def compare_agent(predictor: Predictor, model: Model, cases: Cases, agent: Agent, where: str) -> SourceComparison:
    """
    The same with an agent that is loaded already; `where` names it in messages.
    """
    expected = answers(model, cases, SEED)
    cases, expected = cases.only(expected.compared), expected.only(expected.compared)
    comparison = Comparison(where, model, cases, expected)
    question = batch_of(model, cases)
    alone = [single_of(model, cases, row) for row in range(len(cases))]
    try:
        action, state = agent.predict(question)
        actions_alone = [agent.predict(one)[0] for one in alone]
        scores, values = scores_of(agent, question), values_of(agent, question)
    except Exception as error:  # another agent's checkpoint, as a rule
        text = f"SB3 does not answer what the predictor answers: {type(error).__name__}: {quote(str(error), 300)}"
        raise VerificationError(where, text) from error
    own, own_state = predictor.predict(question.observation, **question.others)
    comparison.check_actions("in one batch", own, action)
    if model.states:
        comparison.check_states("in one batch", unpacked(model, own_state), unpacked(model, state))
    each = [predictor.predict(one.observation, **one.others)[0] for one in alone]
    comparison.check_types("alone", each[0], actions_alone[0])
    comparison.check_actions("alone", np.stack(each), np.stack(actions_alone))
    if scores is not None:
        comparison.check_scores(predictor.scores(question.observation, **question.memory), scores)
    value = getattr(predictor, "value", None)
    if "value" in expected.others and value is not None and values is not None:
        comparison.check_values(np.asarray(value(question.observation))[:, None], values)
    if model.states:
        _compare_episodes(predictor, model, cases, agent, comparison)
    return SourceComparison(
        algorithm=agent.name,
        observations=len(cases),
        action_error=comparison.action_error,
        score_error=None if scores is None else comparison.score_error,
        near_ties=len(comparison.near_ties),
    )


def _compare_episodes(predictor: Predictor, model: Model, cases: Cases, agent: Agent, comparison: Comparison) -> None:
    """
    Steps several environments side by side; both sides get back the states that they returned.
    """
    count = len(cases) // ENVIRONMENTS
    own_state: Any = None
    state: Any = None
    asked: list[Cases] = []
    found: list[tuple[Array, Array]] = []
    for step in range(min(STEPS, count)):
        rows = cases.only(slice(step * ENVIRONMENTS, (step + 1) * ENVIRONMENTS))
        if state is not None:
            rows = rows.replaced(**unpacked(model, state))
        else:
            rows = rows.replaced(**{own.name: np.zeros_like(rows.values[own.name]) for own in model.states})
        question = batch_of(model, rows)
        memory = {**question.memory, "state": own_state}
        own, own_state = predictor.predict(question.observation, **question.masks, **memory)
        action, state = agent.predict(Question(question.observation, question.masks, {**memory, "state": state}))
        asked.append(rows)
        found.append((own, action))
    together = Cases.join(*asked)
    expected = answers(model, together, SEED)
    both = [np.concatenate(part) for part in zip(*found, strict=True)]
    kept = expected.compared
    steps = Comparison(comparison.where, model, together.only(kept), expected.only(kept))
    steps.check_actions("step by step", both[0][kept], both[1][kept])
    comparison.action_error = max(comparison.action_error, steps.action_error)
