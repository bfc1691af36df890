"""
That the samples of a batch never meet: what of that can be seen in the graph.

A model is that of one sample. An op that works along the dimension of the batch would give something else for one
sample than for several, and is refused. What can't be seen here, a view that takes one order for another, shows when
the build compares its predictor with torch in batches.
"""

import operator
from collections.abc import Iterator
from typing import Any

import torch

from compiler.frontends.torch_export import translate_elementwise, translate_reductions
from compiler.frontends.torch_export.batch import Batch
from compiler.frontends.torch_export.places import VIEWS

aten = torch.ops.aten

MOVING = frozenset(
    str(op)
    for op in (
        *VIEWS,
        aten.permute.default,
        aten.transpose.int,
        aten.t.default,
        aten.expand.default,
        aten.stack.default,
    )
)
"""Ops whose argument `dim` names a place, and that let every sample be."""

INNER = {
    aten.linear.default: 1,
    aten.layer_norm.default: 1,
    aten.native_layer_norm.default: 1,
    aten.rms_norm.default: 1,
    aten.scaled_dot_product_attention.default: 2,
    aten.conv1d.default: 2,
    aten.conv2d.default: 3,
    aten.conv3d.default: 4,
    aten.conv1d.padding: 2,
    aten.conv2d.padding: 3,
    aten.conv3d.padding: 4,
    aten.conv_transpose1d.default: 2,
    aten.conv_transpose2d.input: 3,
    aten.max_pool1d.default: 1,
    aten.max_pool2d.default: 2,
    aten.max_pool3d.default: 3,
    aten.avg_pool1d.default: 1,
    aten.avg_pool2d.default: 2,
    aten.avg_pool3d.default: 3,
    aten.adaptive_avg_pool1d.default: 1,
    aten.adaptive_avg_pool2d.default: 2,
    aten.adaptive_avg_pool3d.default: 3,
}
"""How many of the last dimensions of its first input an op works along."""

CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default, aten.conv1d.padding, aten.conv2d.padding)
WHOLE = {aten.slice.Tensor: lambda node: node, aten.slice_scatter.default: lambda node: node.args[1]}
"""Ops that leave the samples as they are where they take all of a dimension, and what has as many then."""
ARITHMETIC = frozenset(map(str, translate_elementwise.TRANSLATIONS))
REDUCING = frozenset(map(str, translate_reductions.TRANSLATIONS))


def mixing(node: torch.fx.Node, batch: Batch) -> str | None:
    """
    How a node lets samples meet, in words; None if it can't be seen to.
    """
    if not batch:
        return None
    name = str(node.target)
    if name in ARITHMETIC and any(batch.has(_recorded(value)) for value in node.all_input_nodes):
        return "computes with the number of samples: a predictor's answer may not depend on it"
    for value in _results(node):
        if sum(batch.has(size) for size in value.shape) > 1:
            return "relates each sample of the batch to each other"
    if name in MOVING or not isinstance(node.target, torch._ops.OpOverload):
        return None
    for axis, value in _axes(node, name):
        if batch.has(value.shape[axis]):
            if node.target in WHOLE and _recorded(WHOLE[node.target](node)).shape[axis] == value.shape[axis]:
                continue
            if axis == 1 and _groups_of_samples(node, value, batch):
                continue
            return "works along the dimension of the batch"
    return None


def _groups_of_samples(node: torch.fx.Node, image: torch.Tensor, batch: Batch) -> bool:
    """
    Whether a convolution has as many groups as samples, or a multiple: each sample meets filters of its own alone.
    """
    if node.target not in CONVOLUTIONS:
        return False
    given = _arguments(node)
    groups, filters = _recorded(given["groups"]), _recorded(given["weight"]).shape[0]
    return batch.has(groups) and not any(batch.has(size // groups) for size in (image.shape[1], filters))


def _recorded(value: Any) -> Any:
    return value.meta.get("val") if isinstance(value, torch.fx.Node) else value


def _results(node: torch.fx.Node) -> list[torch.Tensor]:
    found = _recorded(node)
    several = list(found) if isinstance(found, list | tuple) else [found]
    return [value for value in several if isinstance(value, torch.Tensor)]


def _axes(node: torch.fx.Node, name: str) -> Iterator[tuple[int, torch.Tensor]]:
    """
    The dimensions along which a node works, each with the tensor that has it.
    """
    assert isinstance(node.target, torch._ops.OpOverload)
    given = _arguments(node)
    first = next(iter(given.values()), None)
    tensors = list(map(_recorded, first if isinstance(first, list | tuple) else [first]))
    tensors = [value for value in tensors if isinstance(value, torch.Tensor) and value.ndim]
    if node.target in (aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input):
        time = 1 if given.get("batch_first") and tensors[0].ndim == 3 else 0
        yield time, tensors[0]
        return
    for value in tensors:
        dims: Any = given.get("dim", given.get("dims"))
        if dims is None or dims == []:
            dims = range(value.ndim) if name in REDUCING else range(-INNER.get(node.target, 0), 0)
        for dim in [dims] if isinstance(dims, int) else dims:
            yield operator.index(dim) % value.ndim, value


def _arguments(node: torch.fx.Node) -> dict[str, Any]:
    """
    The arguments of a node by the names that its schema gives them, defaults included.
    """
    assert isinstance(node.target, torch._ops.OpOverload)
    schema = node.target._schema.arguments
    values = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    named = {argument.name: value for argument, value in zip(schema, node.args, strict=False)}
    ordered = {argument.name: None for argument in schema}
    return {name: ({**values, **named, **node.kwargs}).get(name) for name in ordered}
