"""
What a build has to say: the layers, what was left out, what was assumed, how near and how fast the predictor is.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from compiler.ir import Model, Node, Origin, Tensor
from compiler.ops import OPS
from compiler.verify import Verification


@dataclass(frozen=True)
class Layer:
    """
    One node of a model.
    """

    name: str
    """Where it comes from, in the words of the source: untrusted text."""
    op: str
    """Its op, with the activation that is fused into it: `dense + tanh`."""
    inputs: tuple[int, ...]
    """The shape of its first input, for one observation."""
    outputs: tuple[int, ...]
    """The shape of its result, for one observation."""
    parameters: int
    """The weights that training found, without what packing adds."""
    bytes: int
    """What its constants take in the model file, padding of the layout included."""
    multiply_adds: int
    """For one observation."""
    reads: tuple[int, ...]
    """The layers whose results it takes, by their numbers; an input of the model is no layer."""

    def to_manifest(self) -> dict[str, Any]:
        """
        What a picture of the model needs: the same for every target that has the same layers.
        """
        return {name: getattr(self, name) for name in ("name", "op", "reads", "inputs", "outputs", "parameters")}


@dataclass(frozen=True)
class Dropped:
    """
    Constants of the source that no action depends on, by the shortest prefix that they have to themselves.
    """

    prefix: str
    tensors: int
    parameters: int


@dataclass(frozen=True)
class Report:
    """
    The account of one build.
    """

    source: dict[str, str]
    """What was compiled, as `source_of` says it."""
    layers: tuple[Layer, ...]
    dropped: tuple[Dropped, ...]
    assumptions: tuple[str, ...]
    verification: Verification
    nanoseconds_per_call: float | None
    """Of `act` with one observation, the median of several measurements in this process; None where it is not in it."""
    seconds: float
    """What the whole build took."""
    bytes: int
    """The size of the model file."""
    workspace: int
    """Bytes for the values of one observation between the inputs and the outputs."""

    def to_json(self) -> dict[str, Any]:
        """
        Everything as plain JSON values.
        """
        return {**asdict(self), "totals": totals(self.layers)}


def layers_of(model: Model, source: Model | None = None) -> tuple[Layer, ...]:
    """
    A row for each node of a model.

    Args:
        model: a legal model.
        source: what it was made from: nodes of the same name tell the parameters before packing.
    """
    unpacked = {node.name: (source, node) for node in source.nodes if _constants(source, node)} if source else {}
    made_by = {output: number for number, node in enumerate(model.nodes) for output in node.outputs}
    rows = [_layer(model, node, made_by, *unpacked.get(node.name, (model, node))) for node in model.nodes]
    # A pass that divides a node names what it takes out after it: those parameters are counted there.
    taken: Counter[str] = Counter()
    for row in rows:
        if row.name not in unpacked:
            taken[row.name.rpartition(":")[0]] += row.parameters
    return tuple(replace(row, parameters=max(0, row.parameters - taken[row.name])) for row in rows)


def _layer(model: Model, node: Node, made_by: dict[str, int], origin: Model, original: Node) -> Layer:
    tensors = [model.tensors[name] for name in node.inputs]
    activation = node.attributes.get("activation")
    constants = _constants(model, node)
    return Layer(
        name=node.name,
        op=f"{node.op} + {activation}" if activation else node.op,
        inputs=tensors[0].fixed_shape,
        outputs=model.tensors[node.outputs[0]].fixed_shape,
        parameters=sum(tensor.elements for tensor in (_constants(origin, original) if constants else ())),
        bytes=sum(tensor.elements * tensor.dtype.numpy.itemsize for tensor in constants),
        multiply_adds=OPS[node.op].multiply_adds(tensors, node.attributes),
        reads=tuple(sorted({made_by[name] for name in node.inputs if name in made_by})),
    )


def _constants(model: Model, node: Node) -> list[Tensor]:
    return [tensor for tensor in (model.tensors[name] for name in node.inputs) if tensor.data is not None]


def totals(layers: Iterable[Layer]) -> dict[str, int]:
    """
    Parameters, bytes and multiply-adds of all layers together.
    """
    rows = list(layers)
    return {
        "parameters": sum(layer.parameters for layer in rows),
        "bytes": sum(layer.bytes for layer in rows),
        "multiply_adds": sum(layer.multiply_adds for layer in rows),
    }


def dropped_between(source: Model, model: Model) -> tuple[Dropped, ...]:
    """
    The constants of the source that the compiled model's outputs and states do not depend on.
    """
    needed = _needed(source, {output.name for output in model.outputs})
    dropped = [tensor for tensor in source.constants() if tensor.name not in needed]
    kept = {prefix for name in needed for prefix in _prefixes(name)}
    groups: dict[str, list[int]] = {}
    for tensor in dropped:
        own = next((prefix for prefix in _prefixes(tensor.name) if prefix not in kept), tensor.name)
        groups.setdefault(own, []).append(tensor.elements)
    return tuple(Dropped(prefix, len(sizes), sum(sizes)) for prefix, sizes in groups.items())


def _needed(source: Model, outputs: set[str]) -> set[str]:
    needed = {output.tensor for output in source.outputs if output.name in outputs}
    needed |= {name for state in source.states for name in (state.output, state.initial)}
    for node in reversed(source.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
    return needed


def _prefixes(name: str) -> list[str]:
    """
    `a.b.c` gives `a`, `a.b`, `a.b.c`.
    """
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def report_on(
    source: Model,
    model: Model,
    dropped: tuple[Dropped, ...],
    verification: Verification,
    nanoseconds: float | None,
    seconds: float,
    size: int,
    workspace: int,
) -> Report:
    """
    The account of a build, from what its steps returned; `size` is that of the model file.
    """
    return Report(
        source=source_of(source.origin),
        layers=layers_of(model, source),
        dropped=dropped,
        assumptions=source.origin.assumptions,
        verification=verification,
        nanoseconds_per_call=nanoseconds,
        seconds=seconds,
        bytes=size,
        workspace=workspace,
    )


def source_of(origin: Origin) -> dict[str, str]:
    """
    File, SHA-256 and format of what was compiled, and the SHA-256 of the VecNormalize file that went into it, if any.
    """
    source = {"file": origin.file, "sha256": origin.sha256, "format": origin.format}
    return source | ({"vecnormalize": origin.vecnormalize} if origin.vecnormalize else {})


def median(values: list[float]) -> float:
    """
    The middle one.
    """
    return float(np.median(values))
