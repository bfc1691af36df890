"""
What the right answers are, and how well they can be known in float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from compiler.errors import UnsupportedError
from compiler.ir import Box, Discrete, Model, Node, Policy, Tensor
from compiler.ops import OPS, Array
from compiler.ops.reference import evaluate
from compiler.tolerances import (
    ACTION_RELATIVE,
    LARGEST_COMPARED,
    PERTURBATION,
    SCORE_FLOOR,
    SCORE_RELATIVE,
    SENSITIVITY,
    TIE,
    WIDEST_RANGE,
)

PAIRS = 2
"""Perturbations come in pairs of opposite sign: where rounding can flip the sign of a unit, one of the two does."""


@dataclass(frozen=True)
class Known:
    """
    Every tensor of a model for a batch, with what float32 may make of it.
    """

    values: dict[str, Array]
    slack: dict[str, Array]
    """For each value, how far from it a correct float32 computation may be, by conditioning alone."""

    def limit(self, name: str) -> Array:
        """
        The largest error that a value of this tensor may have, for each element.
        """
        flat = np.abs(self.values[name].reshape(len(self.values[name]), -1)).astype(np.float64)
        finite = np.where(np.isfinite(flat), flat, 0)
        scale = np.maximum(finite.max(axis=1), SCORE_FLOOR).reshape(-1, *[1] * (self.values[name].ndim - 1))
        limit: Array = np.maximum(SCORE_RELATIVE * scale, self.slack[name])
        return limit


@dataclass(frozen=True)
class Answers:
    """
    What a predictor must return for a batch of n observations.
    """

    actions: Array
    """(n, *shape of the action space), in the dtype that `predict` returns."""
    action_scale: Array
    """What an error of an action is divided by; broadcasts with `actions`. All ones for a Discrete space."""
    action_slack: Array
    scores: Array
    """(n, k) float64."""
    score_scale: Array
    """(n, 1): what an error of a score is divided by."""
    score_slack: Array
    compared: Array
    """(n,) bool: whether float32 can hold every value on the way."""

    def only(self, rows: slice | Array) -> "Answers":
        """
        The answers for some of the observations: a slice of them, or a mask.
        """
        parts = {name: value[rows] for name, value in vars(self).items()}
        return Answers(**parts)

    @property
    def discrete(self) -> bool:
        """
        Whether an action is a choice, not a value.
        """
        return self.actions.dtype.kind == "i"

    def acceptable(self, chosen: Array) -> Array:
        """
        For choices that are not those of the reference: whether the score of each is as good, up to rounding.
        """
        rows = np.arange(len(chosen))
        inside = (chosen >= 0) & (chosen < self.scores.shape[1])
        own = self.scores[rows, np.where(inside, chosen, 0)]
        best = self.scores[rows, self.actions]
        allowed = np.maximum(TIE * np.maximum(self.score_scale[:, 0], 1), 2 * self.score_slack.max(axis=1))
        acceptable: Array = inside & (np.abs(best - own) <= allowed)
        return acceptable


def policy_of(model: Model) -> Policy:
    """
    The model's policy.

    Raises:
        UnsupportedError: for a model that is not one.
    """
    if model.policy is None:
        raise UnsupportedError(model.name, "is not a policy; only policies can be verified yet")
    return model.policy


def model_inputs(model: Model, observations: Array) -> dict[str, Array]:
    """
    The observations as the model's one input, in its dtype: float32 for a Box, as SB3's `preprocess_obs`.
    """
    (name,) = model.inputs
    with np.errstate(all="ignore"):
        return {name: observations.astype(model.tensors[name].dtype.numpy)}


def known(model: Model, inputs: dict[str, Array], seed: int) -> Known:
    """
    The float64 reference of every tensor, and how much rounding weights and inputs a little differently changes it.
    """
    values = evaluate(model, inputs)
    slack = {name: np.zeros(value.shape) for name, value in values.items()}
    for pair in range(PAIRS):
        for sign in (1, -1):
            rng = np.random.default_rng([seed, pair])
            changed = _perturbed_model(model, rng, sign)
            moved = evaluate(changed, {name: _perturbed(value, rng, sign) for name, value in inputs.items()})
            with np.errstate(all="ignore"):
                for name, value in values.items():
                    change = np.abs(moved[name].astype(np.float64) - value)
                    np.maximum(slack[name], np.where(np.isfinite(change), SENSITIVITY * change, 0), out=slack[name])
    return Known(values, slack)


def answers(model: Model, observations: Array, seed: int) -> Answers:
    """
    What a predictor of this policy must return.

    Args:
        model: a policy with an output for the action and one for the scores that it is chosen from.
        observations: (n, *shape of the observation space).
        seed: of the perturbations that show the conditioning.

    Raises:
        UnsupportedError: for outputs or action spaces that can't be compared.
    """
    action, scores = model.output("action"), model.output("scores")
    if action is None or scores is None:
        raise UnsupportedError(model.name, "has no output for the action, or none for the scores it is chosen from")
    reference = known(model, model_inputs(model, observations), seed)
    expected = reference.values[action.tensor].astype(model.tensors[action.tensor].dtype.numpy)
    values = reference.values[scores.tensor]
    largest = np.where(np.isfinite(values), np.abs(values), 0).max(axis=1, keepdims=True)
    shape, scale = _action_scale(policy_of(model), reference.values[action.tensor])
    return Answers(
        actions=expected.reshape(len(expected), *shape),
        action_scale=scale.reshape(len(expected), *shape),
        action_slack=reference.slack[action.tensor].reshape(len(expected), *shape),
        scores=values,
        score_scale=np.maximum(largest, SCORE_FLOOR),
        score_slack=reference.slack[scores.tensor],
        compared=_representable(model, reference.values, len(expected)),
    )


def _action_scale(policy: Policy, values: Array) -> tuple[tuple[int, ...], Array]:
    match policy.action_space:
        case Discrete():
            return (), np.ones(len(values))
        case Box(low=low, high=high) as space:
            with np.errstate(all="ignore"):
                span = (high.astype(np.float64) - low.astype(np.float64)).reshape(1, -1)
                bounded = (span > 0) & (span < WIDEST_RANGE)
                size = np.where(np.isfinite(values), np.abs(values), 0).reshape(len(values), -1)
            # Without a range to relate to: the tolerance of scores.
            free = np.maximum(size, SCORE_FLOOR) * (SCORE_RELATIVE / ACTION_RELATIVE)
            return space.shape, np.where(bounded, span, free)
        case other:
            raise UnsupportedError("verification", f"actions of {type(other).__name__} spaces can't be compared yet")


def _representable(model: Model, values: dict[str, Array], rows: int) -> Array:
    """
    Which observations keep every value on the way, sums before a fused activation included, far within float32.
    """
    result: Array = np.ones(rows, dtype=bool)
    for node in model.nodes:
        for array in (*(values[name] for name in node.outputs), *_magnitudes(model, node, values)):
            flat = array.reshape(rows, -1)
            result &= ~(np.isfinite(flat) & (np.abs(flat) > LARGEST_COMPARED)).any(axis=1)
    return result


def _magnitudes(model: Model, node: Node, values: dict[str, Array]) -> Iterator[Array]:
    """
    Of a node that sums products: the sums of their magnitudes, which bound every partial sum in any order.
    """
    op = OPS[node.op]
    if not op.multiply_adds([model.tensors[name] for name in node.inputs], node.attributes):
        return
    attributes = {**node.attributes, "activation": ""} if "activation" in node.attributes else node.attributes
    with np.errstate(all="ignore"):
        yield op.reference(*(np.abs(values[name]) for name in node.inputs), **attributes)


def _perturbed_model(model: Model, rng: np.random.Generator, sign: int) -> Model:
    tensors = {name: _perturbed_tensor(tensor, rng, sign) for name, tensor in model.tensors.items()}
    return replace(model, tensors=tensors)


def _perturbed_tensor(tensor: Tensor, rng: np.random.Generator, sign: int) -> Tensor:
    return tensor if tensor.data is None else replace(tensor, data=_perturbed(tensor.data, rng, sign))


def _perturbed(array: Array, rng: np.random.Generator, sign: int) -> Array:
    if array.dtype.kind != "f":
        return array
    with np.errstate(all="ignore"):
        return array * (1 + sign * rng.uniform(-PERTURBATION, PERTURBATION, size=array.shape))
