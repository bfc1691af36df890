"""
Numbers that a source computes of the length of a sequence: how many values a mean is of, or the root of that.

At one length they are constants. Where they are a count, `factor * length + shift`, or a function of that, they are
computed of how many steps an input has.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compiler.ir import DType, Model
from compiler.ops.builder import GraphBuilder

Function = Callable[[float], float]

FORMS: Mapping[str, tuple[Function, Function]] = {
    "": (lambda count: count, lambda value: value),
    "reciprocal": (lambda count: 1 / count, lambda value: 1 / value),
    "sqrt": (math.sqrt, lambda value: value * value),
    "rsqrt": (lambda count: 1 / math.sqrt(count), lambda value: 1 / (value * value)),
}
"""The ops that numbers are computed with of a count, each with what it is and with its inverse."""
TAKING = ("plus", "minus", "times", "over")
"""The ops that counts are looked for before."""
NEAR = 1e-5
"""How near float32 is to what a count gives, relative to that."""


@dataclass(frozen=True)
class Count:
    """
    A number as `op` of `factor * length + shift`.
    """

    op: str
    factor: int
    shift: int


def with_counts(models: Sequence[Model], lengths: Sequence[int]) -> list[Model]:
    """
    The models with their counts computed, where nothing else differs.

    Args:
        models: one for each length.
        lengths: of their sequences.
    """
    found: dict[tuple[str, int], Count] = {}
    for nodes in zip(*(model.nodes for model in models), strict=False):
        if len({(node.op, node.outputs, len(node.inputs)) for node in nodes}) > 1:
            break
        for place in range(len(nodes[0].inputs) if nodes[0].op in TAKING else 0):
            values = [_number(model, node.inputs[place]) for model, node in zip(models, nodes, strict=True)]
            count = _count(values, lengths)
            if count:
                found[nodes[0].outputs[0], place] = count
    followed = _followed(models)
    if not found or followed is None:
        return [*models]
    return [_computed(model, found, *followed, length) for model, length in zip(models, lengths, strict=True)]


def _number(model: Model, name: str) -> float:
    """
    The value of a constant that is one number; NaN for all else.
    """
    tensor = model.tensors[name]
    single = tensor.data is not None and tensor.dtype is DType.FLOAT32 and tensor.data.size == 1
    return float(np.reshape(tensor.data, ())) if single else math.nan  # type: ignore[arg-type]


def _count(values: Sequence[float], lengths: Sequence[int]) -> Count | None:
    """
    What the numbers are at these lengths; None where they are the same, or no counts.
    """
    if len(set(values)) == 1 or not all(math.isfinite(value) and value > 0 for value in values):
        return None
    for op, (function, inverse) in FORMS.items():
        first, second = (inverse(value) for value in values[:2])
        factor = round((first - second) / (lengths[0] - lengths[1]))
        shift = round(first) - factor * lengths[0]
        counts = [factor * length + shift for length in lengths]
        if factor and min(counts) > 0:
            pairs = zip(map(function, counts), values, strict=True)
            if all(abs(right - value) <= NEAR * value for right, value in pairs):
                return Count(op, factor, shift)
    return None


def _followed(models: Sequence[Model]) -> tuple[str, int] | None:
    """
    An input and its axis that is not as large in all models.
    """
    for name in models[0].inputs:
        for axis, sizes in enumerate(zip(*(model.tensors[name].fixed_shape for model in models), strict=True)):
            if len(set(sizes)) > 1:
                return name, axis
    return None


def _computed(model: Model, found: Mapping[tuple[str, int], Count], name: str, axis: int, length: int) -> Model:
    """
    The model of one length with counts in the place of numbers, by the node's first output and the input.

    Args:
        model: the model.
        found: the counts.
        name: an input that follows the length.
        axis: along which it does.
        length: of the sequences.
    """
    builder = GraphBuilder()
    builder.tensors.update(model.tensors)
    steps, more = _steps(builder, name, axis), model.tensors[name].fixed_shape[axis] - length
    for node in model.nodes:
        inputs = list(node.inputs)
        for place in range(len(inputs)):
            count = found.get((node.outputs[0], place))
            if count:
                exact = replace(count, shift=count.shift - count.factor * more)
                rank = len(model.tensors[node.outputs[0]].fixed_shape)
                inputs[place] = _add(builder, steps, f"{node.outputs[0]}:{place}", exact, rank)
        builder.nodes.append(replace(node, inputs=tuple(inputs)))
    read = {key for node in builder.nodes for key in node.inputs} | {output.tensor for output in model.outputs}
    tensors = {key: tensor for key, tensor in builder.tensors.items() if tensor.data is None or key in read}
    return replace(model, nodes=tuple(builder.nodes), tensors=tensors)


def _steps(builder: GraphBuilder, name: str, axis: int) -> str:
    """
    Computes how large an axis of an input is: adds ones, which each number is that is above 0 or is not.
    """
    found = name
    for other, size in enumerate(builder.tensors[name].fixed_shape):
        if other != axis and size > 1:
            found = builder.add("slice", [found], "steps.first", axis=other, start=0, stop=1, step=1)
    found = builder.add("reshape", [found], "steps.row", shape=(builder.tensors[name].fixed_shape[axis],))
    if builder.tensors[name].dtype is not DType.BOOL:
        found = builder.add("cast", [found], "steps.cast", dtype="float32")
        found = builder.add("greater", [found, builder.constant("steps:zero", np.zeros((), np.float32))], "steps.above")
    found = builder.add("either", [found, builder.add("not", [found], "steps.not")], "steps.each")
    found = builder.add("cast", [found], "steps.ones", dtype="float32")
    return builder.add("reduce_sum", [found], "steps", axes=(0,), keep=False)


def _add(builder: GraphBuilder, steps: str, name: str, count: Count, rank: int) -> str:
    """
    Computes a count of the steps, with so many dimensions of 1; returns its name.
    """

    def number(what: str, value: int) -> str:
        return builder.constant(f"{name}:{what}", np.array(value, np.float32))

    result = builder.add("times", [steps, number("factor", count.factor)], f"{name}.count")
    result = builder.add("plus", [result, number("shift", count.shift)], f"{name}.count")
    result = builder.add(count.op, [result], f"{name}.count") if count.op else result
    return builder.add("reshape", [result], f"{name}.count", shape=(1,) * rank)
