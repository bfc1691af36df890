"""
What the right answers are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from compiler.errors import UnsupportedError
from compiler.ir import Box, Model, MultiBinary, MultiDiscrete, Policy
from compiler.ops import Array
from compiler.tolerances import ACTION_RELATIVE, SCORE_FLOOR, SCORE_RELATIVE, WIDEST_RANGE
from compiler.verify.asking import packed
from compiler.verify.cases import Cases, policy_of
from compiler.verify.choices import Choices, choices_of, masks_decide, masks_in
from compiler.verify.reference import Known, Walk, chunks, known, model_inputs


@dataclass(frozen=True)
class Expected:
    """
    Values that must be given, and how nearly.
    """

    values: Array
    """(n, ...)."""
    scale: Array
    """What an error is divided by; broadcasts with `values`."""
    slack: Array
    """How far from the value a correct float32 computation may be, by conditioning alone."""
    tolerance: float
    """What an error may be after that, where `slack` does not say more."""

    def only(self, rows: slice | Array) -> "Expected":
        """
        The same for some of the cases.
        """
        return Expected(self.values[rows], self.scale[rows], self.slack[rows], self.tolerance)


@dataclass(frozen=True)
class Answers:
    """
    What a predictor must return for n cases.
    """

    actions: Array
    """(n, *shape of the action space), in the dtype that `predict` returns."""
    action: Expected | None
    """The same with tolerances, of a Box; None for choices."""
    choices: Choices | None
    """The same as choices; None for a Box."""
    scores: Expected
    """(n, k) float64."""
    states: Mapping[str, Expected]
    """Each state after the step, (n, units), by its name."""
    others: Mapping[str, Expected]
    """The other outputs that are computed, by name: `value`, `std`."""
    compared: Array
    """(n,) bool: whether float32 can hold every value on the way, and masks do what they are for."""

    def __len__(self) -> int:
        return len(self.actions)

    def only(self, rows: slice | Array) -> "Answers":
        """
        The answers for some of the cases: a slice of them, their numbers, or a mask.
        """
        return Answers(
            actions=self.actions[rows],
            action=self.action and self.action.only(rows),
            choices=self.choices and self.choices.only(rows),
            scores=self.scores.only(rows),
            states={name: part.only(rows) for name, part in self.states.items()},
            others={name: part.only(rows) for name, part in self.others.items()},
            compared=self.compared[rows],
        )

    @property
    def one_choice(self) -> bool:
        """
        Whether an action is one number: `act` gives it as an int.
        """
        return self.choices is not None and self.actions.ndim == 1


def answers(model: Model, cases: Cases, seed: int, walk: Walk = chunks) -> Answers:
    """
    What a predictor of this policy must return.

    Args:
        model: a policy with an output for the action and one for the scores that it is chosen from.
        cases: what is asked.
        seed: of the perturbations that show the conditioning.
        walk: `steps`, if the cases are the steps of one episode, of which only the first state counts.

    Raises:
        UnsupportedError: for outputs that can't be compared.
    """
    action, scores = model.output("action"), model.output("scores")
    if action is None or scores is None:
        raise UnsupportedError(model.name, "has no output for the action, or none for the scores it is chosen from")
    computed = {output.name: output.tensor for output in model.outputs if model.tensors[output.tensor].data is None}
    others = {name: tensor for name, tensor in computed.items() if tensor not in (action.tensor, scores.tensor)}
    states = {state.name: state.output for state in model.states}
    reference = known(model, model_inputs(model, cases), seed, [*computed.values(), *states.values()], walk)
    masks = masks_in(dict(cases.values))
    given, logits = reference.values[action.tensor], reference.values[scores.tensor]
    choices = choices_of(model, reference.values, masks, reference.slack[scores.tensor])
    shape = _action_shape(policy_of(model))
    with np.errstate(all="ignore"):
        actions = given.astype(model.tensors[action.tensor].dtype.numpy).reshape(len(given), *shape)
    values = None
    if choices is None:
        scale = _action_scale(policy_of(model), given).reshape(len(given), *shape)
        slack = reference.slack[action.tensor].reshape(len(given), *shape)
        values = Expected(actions, scale, slack, ACTION_RELATIVE)
    return Answers(
        actions=actions,
        action=values,
        choices=choices,
        scores=_expected(reference, scores.tensor),
        states={name: _expected(reference, tensor) for name, tensor in states.items()},
        others={name: _expected(reference, tensor) for name, tensor in others.items()},
        compared=reference.representable & masks_decide(model, logits, masks),
    )


def next_state(model: Model, expected: Answers) -> tuple[Array, Array]:
    """
    The state that `predict` returns: h and c, each (layers, n, units).
    """
    values = {name: part.values.astype(np.float32) for name, part in expected.states.items()}
    return packed(model, Cases(values, ("",) * len(expected)))


def _expected(reference: Known, tensor: str) -> Expected:
    values = reference.values[tensor]
    flat = np.where(np.isfinite(values), np.abs(values), 0).reshape(len(values), -1)
    scale = np.maximum(flat.max(axis=1), SCORE_FLOOR).reshape(-1, *[1] * (values.ndim - 1))
    return Expected(values, scale, reference.slack[tensor], SCORE_RELATIVE)


def _action_shape(policy: Policy) -> tuple[int, ...]:
    match policy.action_space:
        case Box() as space:
            return space.shape
        case MultiDiscrete(nvec=nvec):
            return (len(nvec),)
        case MultiBinary(shape=shape):
            return shape
        case _:
            return ()


def _action_scale(policy: Policy, values: Array) -> Array:
    """
    The range of each action, or the size of actions that have none.
    """
    space = policy.action_space
    assert isinstance(space, Box)
    with np.errstate(all="ignore"):
        span = (space.high.astype(np.float64) - space.low.astype(np.float64)).reshape(1, -1)
        bounded = (span > 0) & (span < WIDEST_RANGE)
        size = np.where(np.isfinite(values), np.abs(values), 0).reshape(len(values), -1)
    # Without a range to relate to: the tolerance of scores.
    free = np.maximum(size, SCORE_FLOOR) * (SCORE_RELATIVE / ACTION_RELATIVE)
    return np.where(bounded, span, free)
