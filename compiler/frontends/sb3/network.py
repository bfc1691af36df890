"""
A policy's networks, layer by layer, from the tensors of a state dict to the nodes of a graph.

Every method checks what it meets and records what is wrong; as soon as anything is, nothing more is added to the graph,
but the checks go on, so that all of it is found. A `Signal` is what one layer hands to the next.
"""

import re
from dataclasses import dataclass

import numpy as np

from compiler.errors import quote
from compiler.frontends.sb3.activations import Activation
from compiler.frontends.sb3.findings import Findings
from compiler.ir import BATCH, Attribute, Box, DType, Output
from compiler.ops import Array
from compiler.ops.builder import GraphBuilder
from compiler.readers.tensors import TensorFile

OBSERVATION = "observation"
LOW, HIGH = "action_space.low", "action_space.high"
RESERVED = (OBSERVATION, LOW, HIGH)
PARAMETER = re.compile(r"(?P<slot>0|[1-9]\d{0,3})\.(?:weight|bias)", re.ASCII)
SLOT = re.compile(r"0|[1-9]\d{0,3}", re.ASCII)
LISTED = 8
"""At most so many modules of one network are named in a message."""


@dataclass(frozen=True)
class Signal:
    """
    A computed tensor (batch, width). The width is None after a layer that is missing or damaged.
    """

    tensor: str
    width: int | None


class Network:
    """
    A graph under construction over the tensors of one checkpoint.

    Attributes:
        outputs: what has been marked as a result of the model.
    """

    def __init__(self, file: TensorFile, findings: Findings) -> None:
        self.findings = findings
        self.builder = GraphBuilder()
        self.outputs: list[Output] = []
        self.module_paths = file.module_paths
        self.tensors = {name: _as_float32(array) for name, array in file.tensors.items()}
        for name in RESERVED:
            if name in self.tensors:
                findings.damaged(f"tensor {name!r}: no policy has a tensor of this name")
        for name, array in self.tensors.items():
            if 0 in array.shape:
                findings.damaged(f"tensor {quote(name)} has shape {array.shape}: a dimension is zero")

    def features(self, space: Box, extractor: str, *, normalize_images: bool) -> Signal:
        """
        The observation as SB3's FlattenExtractor gives it; declares the input and every tensor of the checkpoint.
        """
        if self.findings:
            return Signal("", int(np.prod(space.shape)))
        tensor = self.builder.input(OBSERVATION, DType.FLOAT32, (BATCH, *space.shape))
        for name, array in self.tensors.items():
            self.builder.constant(name, array)
        if space.is_image and normalize_images:
            tensor = self.builder.add("divide", [tensor], "preprocess_obs", divisor=255.0)
        tensor = self.builder.add("flatten", [tensor], f"{extractor}.flatten")
        return Signal(tensor, int(np.prod(space.shape)))

    def apply(self, signal: Signal, op: str, name: str, *constants: str, **attributes: Attribute) -> Signal:
        """
        The result of an op that keeps the width.
        """
        if self.findings:
            return signal
        return Signal(self.builder.add(op, [signal.tensor, *constants], name, **attributes), signal.width)

    def activate(self, signal: Signal, activation: Activation, name: str) -> Signal:
        """
        The result of the activation between layers.
        """
        return self.apply(signal, activation.op, name, **activation.attributes) if activation.op else signal

    def linear(self, signal: Signal, key: str, outputs: int | None = None) -> Signal:
        """
        The result of one nn.Linear.

        Args:
            signal: what it reads.
            key: its path in the checkpoint.
            outputs: how many outputs it must have, if that is known.
        """
        weight = self.tensors.get(f"{key}.weight")
        if weight is None:
            self.findings.damaged(f"layer {quote(key)} is missing: there is no {quote(f'{key}.weight')}")
            return Signal("", outputs)
        if weight.ndim != 2 or weight.dtype != np.float32:
            shown = f"{weight.dtype} of shape {weight.shape}"
            self.findings.damaged(f"layer {quote(key)}: the weight must be a floating matrix, found {shown}")
            return Signal("", outputs)
        bias = self.tensors.get(f"{key}.bias")
        self._check_sizes(key, weight, bias, signal.width, outputs)
        width = weight.shape[0]
        if self.findings:
            return Signal("", width)
        if bias is None:
            self.builder.constant(f"{key}.bias", np.zeros(width, np.float32))
        names = [signal.tensor, f"{key}.weight", f"{key}.bias"]
        return Signal(self.builder.add("linear", names, key), width)

    def _check_sizes(
        self, key: str, weight: Array, bias: Array | None, inputs: int | None, outputs: int | None
    ) -> None:
        rows, columns = weight.shape
        if inputs is not None and columns != inputs:
            self.findings.damaged(f"layer {quote(key)} takes {columns} features; there are {inputs}")
        if outputs is not None and rows != outputs:
            self.findings.damaged(f"layer {quote(key)} has {rows} outputs; the action space needs {outputs}")
        if bias is not None and (bias.shape != (rows,) or bias.dtype != np.float32):
            shown = f"{bias.dtype} of shape {bias.shape}"
            self.findings.damaged(f"layer {quote(key)}: the bias must have {rows} floating elements, found {shown}")

    def hidden(self, signal: Signal, prefix: str, activation: Activation) -> Signal:
        """
        The result of `nn.Sequential(Linear, activation, Linear, activation, ...)`, perhaps empty.
        """
        layers = self._layers(prefix)
        self._check_modules(prefix, 2 * layers)
        for slot in range(0, 2 * layers, 2):
            signal = self.linear(signal, f"{prefix}.{slot}")
            signal = self.activate(signal, activation, f"{prefix}.{slot + 1}")
        return signal

    def mlp(self, signal: Signal, prefix: str, activation: Activation, outputs: int, *, squashed: bool) -> Signal:
        """
        The result of `create_mlp` up to its last nn.Linear: Linear, activation, ..., Linear, and Tanh if `squashed`.
        """
        layers = self._layers(prefix)
        self._check_modules(prefix, 2 * layers - 1 + squashed)
        for slot in range(0, 2 * layers - 2, 2):
            signal = self.linear(signal, f"{prefix}.{slot}")
            signal = self.activate(signal, activation, f"{prefix}.{slot + 1}")
        return self.linear(signal, self.last_layer(prefix), outputs)

    def last_layer(self, prefix: str) -> str:
        """
        The path of the last nn.Linear of a sequential network.
        """
        return f"{prefix}.{max(0, 2 * self._layers(prefix) - 2)}"

    def _layers(self, prefix: str) -> int:
        """
        How many nn.Linear a sequential network has, by its tensors and its list of modules; every other module is one.
        """
        slots = {int(slot) for slot in self._listed(prefix) if SLOT.fullmatch(slot) and int(slot) % 2 == 0}
        for key in self.tensors:
            if not key.startswith(f"{prefix}."):
                continue
            match = PARAMETER.fullmatch(key.removeprefix(f"{prefix}."))
            if match is None or int(match["slot"]) % 2:
                self.findings.unsupported(
                    f"tensor {quote(key)}: a parameter of a layer that is neither nn.Linear nor an activation"
                )
            else:
                slots.add(int(match["slot"]))
        return max(slots) // 2 + 1 if slots else 0

    def _listed(self, prefix: str) -> list[str]:
        """
        The modules that the state dict lists inside a network; empty if it has no such list.
        """
        return [path.removeprefix(f"{prefix}.") for path in self.module_paths if path.startswith(f"{prefix}.")]

    def _check_modules(self, prefix: str, expected: int) -> None:
        """
        Compares the modules that the state dict lists, where it does, with those that a network must have.
        """
        if prefix not in self.module_paths:
            return
        listed, wanted = self._listed(prefix), [str(slot) for slot in range(expected)]
        unknown = [name for name in listed if name not in wanted]
        for name in unknown[:LISTED]:
            self.findings.unsupported(f"module {quote(f'{prefix}.{name}')} is neither nn.Linear nor an activation")
        missing = [quote(f"{prefix}.{name}") for name in wanted if name not in listed]
        if missing:
            self.findings.damaged(f"the list of modules lacks {', '.join(missing[:LISTED])}")

    def output(self, signal: Signal, name: str, role: str) -> None:
        """
        Marks a result of the model.
        """
        self.outputs.append(Output(name, signal.tensor, role))

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
