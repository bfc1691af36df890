"""
What goes into a policy and what comes out, checked: a model file may come from anybody.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from compiler.errors import UnsupportedError, quote
from compiler.ir import (
    ACTION_MASKS,
    EPISODE_STARTS,
    Box,
    Dict,
    Discrete,
    DType,
    Model,
    MultiBinary,
    MultiDiscrete,
    Output,
    Policy,
    Shape,
    Space,
    State,
    Tensor,
)

CHOOSING = ("one_hot", "lookup")
"""Ops whose first input is an index into rows that there must be."""


@dataclass(frozen=True)
class Interface:
    """
    The inputs, states and outputs of a policy, by what they are for.
    """

    policy: Policy
    masked: bool
    """Whether the policy takes action masks."""
    action: Output
    scores: Output
    value: Output | None
    distribution: tuple[Output, ...]
    hidden: tuple[State, ...]
    """Of each LSTM layer, the state h."""
    cell: tuple[State, ...]
    """Of each LSTM layer, the state c."""

    @property
    def recurrent(self) -> bool:
        """
        Whether the policy has states.
        """
        return bool(self.hidden)


def interface_of(model: Model) -> Interface:
    """
    The interface of a model.

    Raises:
        UnsupportedError: if the model is not a policy, or its spaces and tensors do not fit each other.
    """
    policy, action, scores = model.policy, model.output("action"), model.output("scores")
    if policy is None or action is None or scores is None:
        raise UnsupportedError(model.origin.file, "is not a policy with an observation, an action and its scores")
    findings = [*_input_findings(model, policy), *_state_findings(model), *_result_findings(model, policy)]
    findings += _index_findings(model, policy)
    if findings:
        raise UnsupportedError(model.origin.file, *findings)
    return Interface(
        policy=policy,
        masked=ACTION_MASKS in model.inputs,
        action=action,
        scores=scores,
        value=model.output("value"),
        distribution=tuple(output for output in model.outputs if output.role == "distribution"),
        hidden=model.states[::2],
        cell=model.states[1::2],
    )


def sizes_of(space: Space) -> tuple[int, ...]:
    """
    How many values each choice of a discrete space has; nothing for other spaces.
    """
    match space:
        case Discrete(n=n):
            return (n,)
        case MultiDiscrete(nvec=nvec):
            return nvec
        case _:
            return ()


def shape_of(space: Space) -> tuple[int, ...]:
    """
    The shape of one element of a space that is no Dict.
    """
    match space:
        case Box() | MultiBinary():
            return space.shape
        case MultiDiscrete(nvec=nvec):
            return (len(nvec),)
        case _:
            return ()


def _input_findings(model: Model, policy: Policy) -> Iterator[str]:
    """
    How the inputs differ from the parts of the observation space, the masks and the starts of episodes.
    """
    expected = [name for name, _ in policy.parts]
    expected += [name for name in (ACTION_MASKS,) if name in model.inputs]
    expected += [EPISODE_STARTS] if model.states else []
    if list(model.inputs) != expected:
        yield f"the inputs must be {', '.join(map(quote, expected))}, found {', '.join(map(quote, model.inputs))}"
        return
    for name, space in policy.parts:
        tensor = model.tensors[name]
        if isinstance(space, Dict):
            yield f"{quote(name)} is a Dict in a Dict, which SB3 does not know"
        elif (tensor.dtype, tensor.shape[1:]) not in [(dtype, shape_of(space)) for dtype in _dtypes(space)]:
            kinds = " or ".join(_dtypes(space))
            yield f"the input {quote(name)} must be {kinds} of shape {shape_of(space)}, found {describe(tensor)}"
    scores = model.output("scores")
    if ACTION_MASKS in model.inputs and scores is not None:
        masks, wanted = model.tensors[ACTION_MASKS], model.tensors[scores.tensor].shape
        if masks.dtype is not DType.BOOL or masks.shape != wanted:
            yield f"the masks must be bool of shape {wanted}, found {describe(masks)}"
    if model.states:
        starts = model.tensors[EPISODE_STARTS]
        if starts.dtype is not DType.FLOAT32 or len(starts.shape) != 1 or starts.fixed_shape:
            yield f"the starts of episodes must be float32 of shape (batch,), found {describe(starts)}"


def _dtypes(space: Space) -> tuple[DType, ...]:
    """
    The dtypes that the input for a part of the observation may have.
    """
    match space:
        case Box():
            return DType.FLOAT32, DType.FLOAT64
        case MultiBinary():
            return (DType.FLOAT32,)
        case _:
            return (DType.INT64,)


def _state_findings(model: Model) -> Iterator[str]:
    """
    States must be those of an LSTM: h.0, c.0, h.1, c.1, ..., of one size, zero at first.
    """
    names = [state.name for state in model.states]
    expected = [f"{kind}.{layer}" for layer in range((len(names) + 1) // 2) for kind in "hc"]
    if names != expected:
        yield f"the states must be {', '.join(expected)}, found {', '.join(map(quote, names))}"
        return
    for state in model.states:
        shape = model.tensors[model.states[0].input].shape
        for name in (state.input, state.output):
            tensor = model.tensors[name]
            if tensor.dtype is not DType.FLOAT32 or tensor.shape != shape or len(tensor.fixed_shape) != 1:
                yield f"the state {quote(state.name)} must be float32 of shape (batch, n), found {describe(tensor)}"
        initial = model.tensors[state.initial].data
        if initial is None or initial.any():
            yield f"the state {quote(state.name)} must begin as zeros"


def _result_findings(model: Model, policy: Policy) -> Iterator[str]:
    space = policy.action_space
    for output in model.outputs:
        tensor = model.tensors[output.tensor]
        if output.role == "action":
            fits = _fits(tensor, space) and model.producer(tensor.name) is not None
            if not fits:
                yield f"the action does not fit its space, {type(space).__name__}: found {describe(tensor)}"
        elif tensor.dtype is not DType.FLOAT32 or (tensor.data is None and len(tensor.fixed_shape) != 1):
            yield f"the output {quote(output.name)} must be float32 of shape (batch, n), found {describe(tensor)}"


def _fits(tensor: Tensor, space: Space) -> bool:
    """
    Whether a tensor holds actions of a space, flat.
    """
    shape: Shape = tensor.shape[1:]
    match space:
        case Discrete():
            return tensor.dtype is DType.INT64 and shape == ()
        case MultiDiscrete(nvec=nvec):
            return tensor.dtype is DType.INT64 and shape == (len(nvec),)
        case MultiBinary():
            return tensor.dtype in (DType.INT64, DType.FLOAT32) and shape == (math.prod(space.shape),)
        case Box():
            return tensor.dtype in (DType.FLOAT32, DType.FLOAT64) and shape == (math.prod(space.shape),)
        case _:
            return False


def _index_findings(model: Model, policy: Policy) -> Iterator[str]:
    """
    What is looked up must be a part of the observation, whose range is checked before.
    """
    ranges = {name: sizes_of(space) for name, space in policy.parts}
    for node in model.nodes:
        if node.op in CHOOSING and ranges.get(node.inputs[0]) != node.attributes["sizes"]:
            index = quote(node.inputs[0])
            yield f"node {quote(node.name)} looks up {index}, which is no discrete observation of its sizes"


def describe(tensor: Tensor) -> str:
    """
    A tensor's type, for messages.
    """
    return f"{tensor.dtype}[{', '.join(map(str, tensor.shape))}]"
