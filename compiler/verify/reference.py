"""
The reference: every value of a model in float64, and how well float32 can know it.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from compiler.ir import EPISODE_STARTS, Model, Node, Tensor
from compiler.ops import OPS, Array
from compiler.ops.reference import evaluate
from compiler.tolerances import (
    LARGEST_COMPARED,
    LONG_SUM,
    PERTURBATION,
    SCORE_FLOOR,
    SCORE_RELATIVE,
    SENSITIVITY,
)
from compiler.verify.cases import Cases

PAIRS = 4
"""Perturbations come in pairs of opposite sign: where rounding can flip the sign of a unit, one of the two does."""

SQUARING = ("layer_norm", "rms_norm", "group_norm")
"""Ops that add up squares of their input, which may overflow where their result does not."""
CHUNK = 2**22
"""Elements of all tensors that are computed at once: 32 MB in float64."""

Inputs = dict[str, Array]
Walk = Callable[[Model, Inputs], Iterator[dict[str, Array]]]
"""Evaluates a model piece by piece: every tensor for some of the rows, then for the next ones."""


@dataclass(frozen=True)
class Known:
    """
    Tensors of a model for a batch, with what float32 may make of them.
    """

    values: dict[str, Array]
    slack: dict[str, Array]
    """For each value, how far from it a correct float32 computation may be, by conditioning alone."""
    representable: Array
    """(n,) bool: whether float32 can hold every value on the way."""

    def limit(self, name: str) -> Array:
        """
        The largest error that a value of this tensor may have, for each element.
        """
        flat = np.abs(self.values[name].reshape(len(self.values[name]), -1)).astype(np.float64)
        finite = np.where(np.isfinite(flat), flat, 0)
        scale = np.maximum(finite.max(axis=1), SCORE_FLOOR).reshape(-1, *[1] * (self.values[name].ndim - 1))
        limit: Array = np.maximum(SCORE_RELATIVE * scale, self.slack[name])
        return limit


def model_inputs(model: Model, cases: Cases) -> Inputs:
    """
    The cases as the model's inputs and states, in their dtypes: float32 for a Box, as SB3's `preprocess_obs`.
    """
    names = {name: name for name in model.inputs} | {state.input: state.name for state in model.states}
    with np.errstate(all="ignore"):
        return {key: cases.values[name].astype(model.tensors[key].dtype.numpy) for key, name in names.items()}


def chunks(model: Model, inputs: Inputs) -> Iterator[dict[str, Array]]:
    """
    Evaluates as many rows at a time as memory is to be spent on.
    """
    elements = sum(tensor.elements for tensor in model.tensors.values() if tensor.data is None)
    size = max(1, CHUNK // max(elements, 1))
    for first in range(0, len(next(iter(inputs.values()))), size):
        yield evaluate(model, {name: array[first : first + size] for name, array in inputs.items()})


def steps(model: Model, inputs: Inputs) -> Iterator[dict[str, Array]]:
    """
    Evaluates one row after the other, each with the states that the one before has left.
    """
    states = {state.input: inputs[state.input][:1] for state in model.states}
    for row in range(len(next(iter(inputs.values())))):
        values = evaluate(model, {name: array[row : row + 1] for name, array in inputs.items()} | states)
        states = {state.input: values[state.output] for state in model.states}
        yield values


def known(model: Model, inputs: Inputs, seed: int, keep: Iterable[str] | None = None, walk: Walk = chunks) -> Known:
    """
    The float64 reference of tensors, and how much rounding weights and inputs a little differently changes it.

    Args:
        model: what to compute.
        inputs: of all inputs and states, (n, ...) each.
        seed: of the perturbations.
        keep: the tensors that are wanted; all that are computed if not given.
        walk: `chunks`, or `steps` for the steps of one episode.
    """
    names = [name for node in model.nodes for name in node.outputs] if keep is None else list(dict.fromkeys(keep))
    pieces: list[dict[str, Array]] = []
    fits: list[Array] = []
    for found in walk(model, inputs):
        pieces.append({name: found[name] for name in names})
        fits.append(_representable(model, found))
    values = {name: np.concatenate([piece[name] for piece in pieces]) for name in names}
    slack = {name: np.zeros(value.shape) for name, value in values.items()}
    sensitivity = _sensitivity(model)
    for pair in range(PAIRS):
        for sign in (1, -1):
            rng = np.random.default_rng([seed, pair])
            changed = _perturbed_model(model, rng, sign)
            exact = {name for name in inputs if name == EPISODE_STARTS}
            moved = {name: array if name in exact else _perturbed(array, rng, sign) for name, array in inputs.items()}
            first = 0
            for found in walk(changed, moved):
                first = _widen(slack, values, found, first, sensitivity)
    return Known(values, slack, np.concatenate(fits))


def _sensitivity(model: Model) -> float:
    """
    How much more than a perturbation rounding may change a result.

    A perturbation of n products changes their sum by about sqrt(n) times what it changes one of them; rounding each of
    n partial sums, which themselves grow, by up to n times.
    """
    longest = 1.0
    for node in model.nodes:
        products = OPS[node.op].multiply_adds([model.tensors[name] for name in node.inputs], node.attributes)
        longest = max(longest, products / model.tensors[node.outputs[0]].elements)
    return SENSITIVITY * max(1.0, math.sqrt(longest / LONG_SUM))


def _widen(
    slack: dict[str, Array], values: dict[str, Array], found: dict[str, Array], first: int, sensitivity: float
) -> int:
    """
    Lets the slack of some rows be what the perturbation has changed there; returns the row after them.
    """
    last = first
    with np.errstate(all="ignore"):
        for name, value in values.items():
            last = first + len(found[name])
            change = np.abs(found[name].astype(np.float64) - value[first:last])
            widened = np.where(np.isfinite(change), sensitivity * change, 0)
            slack[name][first:last] = np.maximum(slack[name][first:last], widened)
    return last


def _representable(model: Model, values: dict[str, Array]) -> Array:
    """
    Which rows keep every value on the way, sums before a fused activation included, far within float32.
    """
    rows = len(values[model.inputs[0]])
    result: Array = np.ones(rows, dtype=bool)
    for node in model.nodes:
        for array in (*(values[name] for name in node.outputs), *_magnitudes(model, node, values)):
            flat = array.reshape(rows, -1)
            result &= ~(np.isfinite(flat) & (np.abs(flat) > LARGEST_COMPARED)).any(axis=1)
    return result


def _magnitudes(model: Model, node: Node, values: dict[str, Array]) -> Iterator[Array]:
    """
    Of a node that sums products: the sums of their magnitudes, which bound every partial sum in any order.

    Of a norm the squares that it adds up.
    """
    op = OPS[node.op]
    if node.op in SQUARING:
        source = values[node.inputs[0]].astype(np.float64)
        with np.errstate(all="ignore"):
            yield np.square(source).reshape(len(source), -1).sum(axis=1)
        return
    if not op.multiply_adds([model.tensors[name] for name in node.inputs], node.attributes):
        return
    attributes = {**node.attributes, "activation": ""} if "activation" in node.attributes else node.attributes
    with np.errstate(all="ignore"):
        yield from op.evaluate([np.abs(values[name]) for name in node.inputs], attributes)


def _perturbed_model(model: Model, rng: np.random.Generator, sign: int) -> Model:
    tensors = {name: _perturbed_tensor(tensor, rng, sign) for name, tensor in model.tensors.items()}
    return replace(model, tensors=tensors)


def _perturbed_tensor(tensor: Tensor, rng: np.random.Generator, sign: int) -> Tensor:
    return tensor if tensor.data is None else replace(tensor, data=_perturbed(tensor.data, rng, sign))


def _perturbed(array: Array, rng: np.random.Generator, sign: int) -> Array:
    """
    Values of float32 rounded differently. What is float64 in a model is computed in float64: it stays as it is.
    """
    if array.dtype != np.float32:
        return array
    with np.errstate(all="ignore"):
        return array * (1 + sign * rng.uniform(-PERTURBATION, PERTURBATION, size=array.shape))
