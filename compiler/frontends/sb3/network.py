"""
A policy's graph under construction: from the tensors of a state dict to nodes.

Every method checks what it meets and records what is wrong; as soon as anything is, nothing more is added to the graph,
but the checks go on, so that all of it is found. A `Signal` is what one layer hands to the next.
"""

import bisect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from compiler.errors import PolicycError, quote
from compiler.frontends.sb3.activations import Activation
from compiler.frontends.sb3.findings import Findings
from compiler.frontends.sb3.inputs import flat_size, input_type
from compiler.frontends.sb3.vecnormalize import PREFIX, Statistics
from compiler.ir import (
    ACTION_MASKS,
    BATCH,
    EPISODE_STARTS,
    OBSERVATION,
    Attribute,
    Box,
    Discrete,
    DType,
    MultiDiscrete,
    Output,
    Sampling,
    Shape,
    Space,
    State,
)
from compiler.ops import Array
from compiler.ops.builder import GraphBuilder
from compiler.readers.tensors import TensorFile

LOW, HIGH = "action_space.low", "action_space.high"
STATE_INITIAL = ".initial"
RESERVED = re.compile(
    rf"({OBSERVATION}|{PREFIX})(\..*)?|{ACTION_MASKS}|{EPISODE_STARTS}|{re.escape(LOW)}|{re.escape(HIGH)}"
    r"|[hc]\.\d+(\.initial)?",
    re.ASCII | re.DOTALL,
)
"""Names that the model gives to tensors of its own."""


@dataclass(frozen=True)
class Signal:
    """
    A computed tensor (batch, width), or of images (batch, ...). The width is None after a layer that is missing.
    """

    tensor: str
    width: int | None


@dataclass(frozen=True)
class Part:
    """
    One part of the observation, as `preprocess_obs` of SB3 gives it.
    """

    key: str
    """Its key in a Dict space; empty where the observation has no parts."""
    space: Space
    signal: Signal


class Network:
    """
    A graph under construction over the tensors of one checkpoint.

    Attributes:
        statistics: by the names of inputs, those by which VecNormalize normalised what the policy saw in training.
        inputs: the tensors that the caller gives, in order, without states.
        outputs: what has been marked as a result of the model.
        states: recurrent states.
        sampling: how actions are drawn; None: they never are.
        extractor: the file of the user's own features extractor, if there is one.
    """

    def __init__(
        self,
        file: TensorFile,
        findings: Findings,
        statistics: Mapping[str, Statistics] = MappingProxyType({}),
        extractor: Path | None = None,
    ) -> None:
        self.findings = findings
        self.extractor = extractor
        self.statistics = statistics
        self.builder = GraphBuilder()
        self.inputs: list[str] = []
        self.outputs: list[Output] = []
        self.states: list[State] = []
        self.sampling: Sampling | None = None
        self.module_paths = file.module_paths
        self.tensors = {name: _as_float32(array) for name, array in file.tensors.items()}
        self._sorted = sorted(self.names)
        for name, array in self.tensors.items():
            if RESERVED.fullmatch(name):
                findings.damaged(f"tensor {quote(name)}: no policy has a tensor of this name")
            if 0 in array.shape:
                findings.damaged(f"tensor {quote(name)} has shape {array.shape}: a dimension is zero")

    @property
    def names(self) -> list[str]:
        """
        The names of all tensors, then the paths of all modules.
        """
        return [*self.tensors, *self.module_paths]

    def has(self, prefix: str) -> bool:
        """
        Whether the checkpoint has a module of this path, or tensors in one.
        """
        for beginning in (prefix, f"{prefix}."):
            place = bisect.bisect_left(self._sorted, beginning)
            found = self._sorted[place] if place < len(self._sorted) else ""
            if found == prefix or found.startswith(f"{prefix}."):
                return True
        return False

    # What the caller gives.

    def observe(self, parts: Iterable[tuple[str, Space]], *, normalize_images: bool) -> list[Part]:
        """
        The parts of the observation, preprocessed; declares their inputs and every tensor of the checkpoint.
        """
        named = list(parts)
        given = [self.features(name, space) for name, space in named]
        if not self.findings:
            for name, array in self.tensors.items():
                self.builder.constant(name, array)
        keys = [name.partition(".")[2] for name, _ in named]
        signals = [
            self._preprocess(tensor, space, f"preprocess_obs.{key}" if key else "preprocess_obs", normalize_images)
            for tensor, key, (_, space) in zip(given, keys, named, strict=True)
        ]
        return [Part(key, space, signal) for key, (_, space), signal in zip(keys, named, signals, strict=True)]

    def features(self, name: str, space: Space) -> str:
        """
        Declares the input of one part of the observation; returns the tensor that the policy sees of it.
        """
        if name not in self.statistics:
            return self.declare(name, *input_type(space))
        statistics = self.statistics[name]
        signal = Signal(self.declare(name, DType.FLOAT64, statistics.mean.shape), flat_size(space))
        prefix = name.replace(OBSERVATION, PREFIX, 1)
        mean = self.constant(f"{prefix}.mean", statistics.mean).tensor
        deviation = self.constant(f"{prefix}.deviation", statistics.deviation).tensor
        return self.apply(signal, "normalize", prefix, mean, deviation, clip=statistics.clip).tensor

    def declare(self, name: str, dtype: DType, shape: Shape) -> str:
        """
        Declares an input of the model.
        """
        if self.findings:
            return ""
        self.inputs.append(name)
        return self.builder.input(name, dtype, (BATCH, *shape))

    def _preprocess(self, tensor: str, space: Space, name: str, normalize_images: bool) -> Signal:
        signal = Signal(tensor, flat_size(space))
        match space:
            case Box() if space.is_image and normalize_images:
                return self.apply(signal, "divide", name, divisor=255.0)
            case Discrete():
                return self.apply(signal, "one_hot", name, sizes=(space.n,))
            case MultiDiscrete():
                return self.apply(signal, "one_hot", name, sizes=space.nvec)
        return signal

    # What is computed.

    def apply(self, signal: Signal, op: str, name: str, *constants: str, **attributes: Attribute) -> Signal:
        """
        The result of an op that keeps the width.
        """
        return self.combine([signal], op, name, *constants, width=signal.width, **attributes)

    def combine(
        self, signals: list[Signal], op: str, name: str, *constants: str, width: int | None, **attributes: Attribute
    ) -> Signal:
        """
        The result of an op with several inputs, or of another width.
        """
        if self.findings:
            return Signal("", width)
        try:
            tensor = self.builder.add(op, [*(signal.tensor for signal in signals), *constants], name, **attributes)
        except PolicycError as error:
            self.findings.damaged(f"layer {quote(name)}: {'; '.join(error.findings)}")
            return Signal("", width)
        return Signal(tensor, width)

    def activate(self, signal: Signal, activation: Activation, name: str) -> Signal:
        """
        The result of the activation between layers.
        """
        if not activation.op:
            return signal
        learned = [f"{name}.weight"] if activation.learned else []
        for key in learned:
            slopes = self.tensors.get(key)
            if slopes is None:
                self.findings.damaged(f"layer {quote(name)} is missing: there is no {quote(key)}")
            elif slopes.dtype != np.float32 or slopes.shape not in ((1,), (signal.width,)):
                shown = f"{slopes.dtype} of shape {slopes.shape}"
                self.findings.damaged(f"layer {quote(name)}: the slopes must be 1 or {signal.width}, found {shown}")
        return self.apply(signal, activation.op, name, *learned, **activation.attributes)

    def linear(self, signal: Signal, key: str, outputs: int | None = None) -> Signal:
        """
        The result of one nn.Linear.

        Args:
            signal: what it reads.
            key: its path in the checkpoint.
            outputs: how many outputs it must have, if that is known.
        """
        return self.product(signal, key, f"{key}.weight", f"{key}.bias", outputs)

    def product(self, signal: Signal, key: str, weight_key: str, bias_key: str, outputs: int | None = None) -> Signal:
        """
        As `linear`, for a matrix and a bias of any names; a bias that is not there is zero.
        """
        weight = self.tensors.get(weight_key)
        if weight is None:
            self.findings.damaged(f"layer {quote(key)} is missing: there is no {quote(weight_key)}")
            return Signal("", outputs)
        if weight.ndim != 2 or weight.dtype != np.float32:
            shown = f"{weight.dtype} of shape {weight.shape}"
            self.findings.damaged(f"layer {quote(key)}: the weight must be a floating matrix, found {shown}")
            return Signal("", outputs)
        bias = self.tensors.get(bias_key)
        self._check_sizes(key, weight, bias, signal.width, outputs)
        width = weight.shape[0]
        if bias is None and not self.findings:
            self.builder.constant(bias_key, np.zeros(width, np.float32))
        return self.combine([signal], "linear", key, weight_key, bias_key, width=width)

    def _check_sizes(
        self, key: str, weight: Array, bias: Array | None, inputs: int | None, outputs: int | None
    ) -> None:
        rows, columns = weight.shape
        if inputs is not None and columns != inputs:
            self.findings.damaged(f"layer {quote(key)} takes {columns} features; there are {inputs}")
        if outputs is not None and rows != outputs:
            self.findings.damaged(f"layer {quote(key)} has {rows} outputs; the action space needs {outputs}")
        self.check_bias(key, bias, rows)

    def check_bias(self, key: str, bias: Array | None, rows: int) -> None:
        """
        Records a bias that does not fit the rows of its weight.
        """
        if bias is not None and (bias.shape != (rows,) or bias.dtype != np.float32):
            shown = f"{bias.dtype} of shape {bias.shape}"
            self.findings.damaged(f"layer {quote(key)}: the bias must have {rows} floating elements, found {shown}")

    # What the model gives.

    def output(self, signal: Signal, name: str, role: str) -> None:
        """
        Marks a result of the model.
        """
        self.outputs.append(Output(name, signal.tensor, role))

    def constant(self, name: str, values: Array) -> Signal:
        """
        A constant that is not in the checkpoint, under a name that is not taken.
        """
        if self.findings:
            return Signal("", None)
        while name in self.builder.tensors:
            name = f"{name}'"
        return Signal(self.builder.constant(name, np.ascontiguousarray(values)), None)

    def within(self, signal: Signal, space: Box, op: str, name: str) -> Signal:
        """
        The action within the bounds of its space, which become constants in the space's own dtype.

        Args:
            signal: the flat action.
            space: the action space.
            op: `clip` or `rescale`; the latter needs finite bounds.
            name: the node's.
        """
        if op == "rescale" and not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            self.findings.damaged("the action space of a squashed policy has an infinite bound")
        if self.findings:
            return signal
        low = self.builder.constant(LOW, space.low.reshape(-1))
        high = self.builder.constant(HIGH, space.high.reshape(-1))
        return self.apply(signal, op, name, low, high)


def _as_float32(array: Array) -> Array:
    """
    Floating tensors as SB3 loads them into its float32 modules: rounded to nearest, too large ones to infinity.
    """
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)
