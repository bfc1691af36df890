"""
The model in memory: what a frontend makes, passes rewrite, the model file stores and codegen reads.

A model is a graph of nodes over named tensors, in an order in which it can be computed. Every tensor is declared
once, with its dtype and shape; a tensor with `data` is a constant (a weight), all others are computed. Dimensions are
integers or names: `BATCH` is the number of observations. An integer that is a `Length` follows the length of a sequence
that is known at run time, and is the largest that it may be. Everything here is immutable; `check.py` says what makes a
model legal.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from compiler.length import Length as Length

BATCH = "batch"
OBSERVATION = "observation"
"""The input of a policy; of a Dict observation, one input for each part: `observation.KEY`."""
ACTION_MASKS = "action_masks"
"""The input that says which choices are allowed: bool (batch, choices)."""
EPISODE_STARTS = "episode_starts"
"""The input of a policy with states that says where an episode begins: float32 (batch,), 1 or 0."""

Dimension: TypeAlias = int | str
Shape: TypeAlias = tuple[Dimension, ...]
Attribute: TypeAlias = bool | int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


class DType(StrEnum):
    """
    The element types of tensors and spaces, named as NumPy names them.
    """

    BOOL = "bool"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """
        The NumPy dtype of the same name, in native byte order.
        """
        return np.dtype(self.value)


@dataclass(frozen=True, eq=False)
class Tensor:
    """
    A value of the graph: computed by a node, given by the caller, or, with `data`, known at build time.
    """

    name: str
    dtype: DType
    shape: Shape
    data: NDArray[np.generic] | None = None
    """
    The values of a constant: C-contiguous, of exactly this dtype and shape. Of one that follows a length, those for the
    largest; those for a shorter one stand at the beginning of each dimension.
    """

    @classmethod
    def constant(cls, name: str, data: NDArray[np.generic]) -> "Tensor":
        """
        A constant holding `data`, which must have one of the dtypes of `DType`.
        """
        return cls(name, DType(data.dtype.name), data.shape, np.asarray(data, order="C"))

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """
        The shape without symbolic dimensions: what one observation takes, with lengths as the largest.
        """
        return tuple(size for size in self.shape if isinstance(size, int))

    @property
    def elements(self) -> int:
        """
        The number of elements per observation (symbolic dimensions count as 1).
        """
        return int(np.prod(self.fixed_shape, dtype=np.int64))

    def __eq__(self, other: object) -> bool:
        """
        Equality of declaration and, bit by bit, of data (so that NaN equals itself).
        """
        if not isinstance(other, Tensor):
            return NotImplemented
        if (self.name, self.dtype, self.shape) != (other.name, other.dtype, other.shape):
            return False
        if self.data is None or other.data is None:
            return self.data is other.data
        return self.data.tobytes() == other.data.tobytes()

    def __hash__(self) -> int:
        return hash((self.name, self.dtype, self.shape))


@dataclass(frozen=True)
class Node:
    """
    One operation: a row of the op table applied to tensors.
    """

    op: str
    name: str
    """Where the node comes from, in the words of the source: `mlp_extractor.policy_net.0`. Free text, never code."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Box:
    """
    Real vectors, matrices, images: `gymnasium.spaces.Box`. `low` and `high` have the space's shape and dtype.
    """

    dtype: DType
    low: NDArray[np.generic]
    high: NDArray[np.generic]

    @property
    def shape(self) -> tuple[int, ...]:
        """
        The shape of one element of the space.
        """
        return self.low.shape

    @property
    def is_image(self) -> bool:
        """
        Whether SB3 takes it for an image: 3-D, uint8, bounds 0 and 255 everywhere (`is_image_space`).
        """
        whole = bool((self.low == 0).all() and (self.high == 255).all())
        return self.dtype is DType.UINT8 and len(self.shape) == 3 and whole

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Box):
            return NotImplemented
        mine, theirs = (self.low, self.high), (other.low, other.high)
        same = all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(mine, theirs, strict=True))
        return self.dtype is other.dtype and same

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape))


@dataclass(frozen=True)
class Discrete:
    """
    One of `n` choices: `gymnasium.spaces.Discrete`. SB3 ignores `start`, and so does the predictor.
    """

    n: int
    start: int = 0


@dataclass(frozen=True)
class MultiDiscrete:
    """
    Several independent choices: `gymnasium.spaces.MultiDiscrete` with a one-dimensional `nvec`.
    """

    nvec: tuple[int, ...]
    start: tuple[int, ...] = ()


@dataclass(frozen=True)
class MultiBinary:
    """
    Bits: `gymnasium.spaces.MultiBinary`.
    """

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Dict:
    """
    Named parts in the saved order: `gymnasium.spaces.Dict`.
    """

    spaces: tuple[tuple[str, "Space"], ...]


Space: TypeAlias = Box | Discrete | MultiDiscrete | MultiBinary | Dict


@dataclass(frozen=True)
class Output:
    """
    A named result of the model. `role` says what a predictor makes of it.
    """

    name: str
    """In the field's terms: `action`, `logits`, `q_values`, `mean_actions`, `value`."""
    tensor: str
    role: str = "output"
    """One of `ROLES`."""


ROLES = ("action", "scores", "value", "output", "distribution")
"""
`action`: what `predict` returns; `scores`: what it is chosen from; `value`: a critic's estimate; `distribution`: what
drawing an action needs besides the scores; `output`: the rest.
"""


@dataclass(frozen=True)
class State:
    """
    A recurrent state: the model reads `input` and leaves the next step's value in `output`; it starts as `initial`.
    """

    name: str
    input: str
    output: str
    initial: str


SAMPLINGS = ("categorical", "bernoulli", "gaussian", "state_dependent", "epsilon_greedy")
"""
How an action is drawn, from the output `scores` and those of the role `distribution`:

`categorical`: from the softmax of the logits, choice by choice; `bernoulli`: from the sigmoid of the logits;
`gaussian`: the mean plus `std`, (actions,) or (batch, actions), times noise; `state_dependent`, SB3's gSDE: the mean
plus `latent` (batch, n) times a matrix of noise whose standard deviations are `noise_std` (n, actions);
`epsilon_greedy`: now and then any action of the space, else the best.
"""


@dataclass(frozen=True)
class Sampling:
    """
    How a policy draws its action where it is not asked for the best.
    """

    kind: str
    """One of `SAMPLINGS`."""
    squash: bool = False
    """Whether what is drawn goes through tanh and is rescaled to the action space; otherwise it is clipped to it."""
    epsilon: float = 0.0
    """The probability of a random action, for `epsilon_greedy`."""


@dataclass(frozen=True)
class Policy:
    """
    What makes a model a policy: the spaces between which `predict` works.

    The model's inputs are the parts of the observation space in order, then `ACTION_MASKS` if the policy takes masks,
    then `EPISODE_STARTS` if it has states.
    """

    kind: str
    """The policy class of the source, for humans: `ActorCriticPolicy`."""
    observation_space: Space
    action_space: Space
    sampling: Sampling | None = None
    """None: the policy never draws, it always gives its best action."""

    @property
    def parts(self) -> tuple[tuple[str, Space], ...]:
        """
        The inputs that make one observation, by the names of their tensors, in order.
        """
        if isinstance(self.observation_space, Dict):
            return tuple((f"{OBSERVATION}.{key}", part) for key, part in self.observation_space.spaces)
        return ((OBSERVATION, self.observation_space),)


@dataclass(frozen=True)
class Origin:
    """
    Where a model comes from, and what had to be assumed to read it.
    """

    file: str
    """The file's own name, without its folder."""
    sha256: str
    """Hexadecimal digest of the whole source file; of an ONNX file and of those in which its weights lie, by name."""
    format: str
    """`sb3-zip`, `torch-state-dict`, `sb3-policy`, ..."""
    versions: tuple[tuple[str, str], ...] = ()
    """What wrote it, where the file says so: `("stable_baselines3", "2.9.2")`."""
    assumptions: tuple[str, ...] = ()
    """What the file does not say and was filled in by SB3's default, or is left out; one sentence each."""
    vecnormalize: str = ""
    """Hexadecimal digest of the VecNormalize file whose statistics observations are normalised by; empty if none."""


@dataclass(frozen=True)
class Model:
    """
    A graph with its inputs, outputs, states, spaces and origin.
    """

    name: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    """Every tensor by its name: inputs, constants, results; in a stable order."""
    inputs: tuple[str, ...]
    outputs: tuple[Output, ...]
    origin: Origin
    states: tuple[State, ...] = ()
    policy: Policy | None = None
    batched: bool = True
    """Whether callers may give several observations at once, in a dimension in front of all others."""

    def output(self, role: str) -> Output | None:
        """
        The first output with this role, if there is one.
        """
        return next((output for output in self.outputs if output.role == role), None)

    def constants(self) -> Iterator[Tensor]:
        """
        The tensors whose values are known, in the model's order.
        """
        return (tensor for tensor in self.tensors.values() if tensor.data is not None)

    def producer(self, tensor: str) -> Node | None:
        """
        The node that computes a tensor; None for inputs and constants.
        """
        return next((node for node in self.nodes if tensor in node.outputs), None)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """
        The nodes that read a tensor, in order.
        """
        return tuple(node for node in self.nodes if tensor in node.inputs)

    def is_result(self, tensor: str) -> bool:
        """
        Whether a tensor leaves the model, as an output or as a state.
        """
        results = {output.tensor for output in self.outputs} | {state.output for state in self.states}
        return tensor in results

    @property
    def parameters(self) -> int:
        """
        The number of elements of all constants.
        """
        return sum(tensor.elements for tensor in self.constants())

    def with_graph(self, nodes: tuple[Node, ...], tensors: Mapping[str, Tensor]) -> "Model":
        """
        The same model with another graph between the same inputs and outputs.
        """
        return replace(self, nodes=nodes, tensors=dict(tensors))

    def __str__(self) -> str:
        """
        The stable text form: a line for each tensor that is given, for each node, for each output.
        """
        return "\n".join(_lines(self))


def _lines(model: Model) -> Iterator[str]:
    yield f"model {model.name!a}" + ("" if model.batched else ", one observation at a time")
    if model.policy is not None:
        yield f"  policy {model.policy.kind!a}"
        yield f"  observation {_space_text(model.policy.observation_space)}"
        yield f"  action {_space_text(model.policy.action_space)}"
        if model.policy.sampling is not None:
            yield f"  {model.policy.sampling}"
    for name in model.inputs:
        yield f"  input {_tensor_text(model.tensors[name])}"
    for tensor in model.constants():
        yield f"  constant {_tensor_text(tensor)}"
    for node in model.nodes:
        results = ", ".join(_tensor_text(model.tensors[name]) for name in node.outputs)
        attributes = "".join(f", {key}={value!a}" for key, value in sorted(node.attributes.items()))
        yield f"  {results} = {node.op}({', '.join(map(ascii, node.inputs))}{attributes})  # {node.name!a}"
    for state in model.states:
        yield f"  state {state.name!a}: {state.input!a} <- {state.output!a}, initially {state.initial!a}"
    for output in model.outputs:
        yield f"  output {output.name!a} = {output.tensor!a} ({output.role})"


def _tensor_text(tensor: Tensor) -> str:
    return f"{tensor.name!a}: {tensor.dtype}[{', '.join(map(str, tensor.shape))}]"


def _space_text(space: Space) -> str:
    match space:
        case Box():
            return f"Box({space.dtype}, {list(space.shape)})"
        case Dict():
            return "Dict(" + ", ".join(f"{key!a}: {_space_text(part)}" for key, part in space.spaces) + ")"
        case _:
            return str(space)
