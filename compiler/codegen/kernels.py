"""
The flat views that kernel templates see: one for each node, all decisions made.
"""

from collections.abc import Callable, Mapping
from dataclasses import astuple
from functools import cache

import numpy as np

from compiler.codegen.body import KernelView
from compiler.codegen.choices import ChoicesView, LookupView, groups_of
from compiler.codegen.dense import SPARSE, ColumnsView, RowsView
from compiler.codegen.expressions import number
from compiler.codegen.features import (
    BoundedView,
    ConcatView,
    LimitView,
    LstmView,
    NormalizeView,
    PreluView,
    QuantileView,
)
from compiler.codegen.general_kernels import general_kernel, together_kernel
from compiler.codegen.images import IMAGE_OPS, image_view
from compiler.codegen.layer import Common, LayerView, RaggedView
from compiler.codegen.naming import comment
from compiler.errors import BuildError, quote
from compiler.ir import DType, Model, Node
from compiler.ops import OPS
from compiler.ops.choices import MASKED
from compiler.ops.dense import COLUMNS
from compiler.ops.heads import LARGEST_EVEN_LOGIT
from compiler.resources import resource


def layer_view(model: Model, node: Node, function: str, lanes: int, divided: bool = False) -> LayerView | KernelView:
    """
    The view of one node; `divided` if its kernel is to be divided among threads, where it can.

    Raises:
        BuildError: if the node is of an op that has no kernel yet.
    """
    features = model.tensors[node.inputs[0]].elements
    title = f"`{comment(node.name)}`: {_title(model, node)}"
    activation, arguments = _activation(node)
    if OPS[node.op].template == "nest" or (model.policy is None and OPS[node.op].elementwise):
        return general_kernel(model, node, function, lanes, _activated(node), divided)
    common = LayerView(function, title, lanes, features, activation, arguments, divided)
    if OPS[node.op].elementwise or node.op in PLAIN:
        return common
    if node.op in IMAGE_OPS:
        return image_view(model, node, common)
    if node.op not in VIEWS:
        raise BuildError("codegen", f"node {quote(node.name)}: there is no kernel for op {node.op}")
    return VIEWS[node.op](model, node, astuple(common))


NEST = "kernels/nest.py.jinja"
"""The template of kernels whose bodies are written line by line."""


def together_view(model: Model, node: Node, function: str, lanes: int, apart: Mapping[str, int]) -> KernelView:
    """
    The view of the kernel that computes one node for a block of observations, of which tensors are so far apart.
    """
    return together_kernel(model, node, function, lanes, _activated(node), apart)


def template_name(node: Node) -> str:
    """
    The template of a node's kernel.
    """
    row = OPS[node.op]
    return (
        "kernels/elementwise.py.jinja"
        if row.elementwise
        else f"kernels/{_filled(row.template, node.attributes)}.py.jinja"
    )


def _activation(node: Node) -> tuple[str, str]:
    """
    The function that a kernel applies to its results, and the arguments after the first.
    """
    op = str(node.attributes.get("activation", "")) if "activation" in node.attributes else node.op
    if not op or not OPS[op].elementwise:
        return "", ""
    row = OPS[op]
    given = {key: node.attributes[key] for key in row.attributes}
    numbers = [value for value in given.values() if isinstance(value, float)]
    function = _filled(row.template, given)
    if function not in function_names():
        raise BuildError("codegen", f"node {quote(node.name)}: there is no function {quote(function)}")
    return function, "".join(f", {number(value)}" for value in numbers)


def _activated(node: Node) -> str:
    """
    The call of the same function on `x`.
    """
    activation, arguments = _activation(node)
    return f"{activation}(x{arguments})" if activation else ""


@cache
def function_names() -> set[str]:
    """
    The functions of vectors that there are templates for.
    """
    return {path.name.split(".")[0] for path in resource("templates").joinpath("functions").iterdir()}


def _filled(template: str, attributes: Mapping[str, object]) -> str:
    return template.format(**attributes)


def _title(model: Model, node: Node) -> str:
    inputs, outputs = (model.tensors[name].elements for name in (node.inputs[0], node.outputs[0]))
    text = f"{inputs} inputs, {outputs} outputs" if node.op == "dense" else f"{node.op} of {inputs} values"
    activation = node.attributes.get("activation")
    return f"{text}, then {activation}" if activation else text


def _dense(model: Model, node: Node, common: Common) -> LayerView:
    outputs, weight = _outputs(model, node), model.tensors[node.inputs[1]].fixed_shape
    if node.attributes["layout"] == COLUMNS:
        skips = _worth_skipping(model, node)
        return ColumnsView(*common, outputs=outputs, blocks=weight[0], width=weight[2], skips=skips)
    return RowsView(*common, outputs=outputs)


def _worth_skipping(model: Model, node: Node) -> bool:
    """
    Whether a large layer gets many zeros, from a ReLU, and may leave their products out: these are zero, all of them.
    """
    weight, before = model.tensors[node.inputs[1]], model.producer(node.inputs[0])
    while before is not None and before.op in ("flatten", "reshape"):
        before = model.producer(before.inputs[0])
    if before is None or "relu" not in (before.op, before.attributes.get("activation")):
        return False
    return weight.data is not None and weight.elements >= SPARSE and bool(np.isfinite(weight.data).all())


def _lookup(model: Model, node: Node, common: Common) -> LayerView:
    computed = model.tensors[node.inputs[2]].data is None
    return LookupView(*common, outputs=_outputs(model, node), sizes=_sizes(node), computed=computed)


def _choices(model: Model, node: Node, common: Common) -> LayerView:
    features = model.tensors[node.inputs[0]].elements
    groups = groups_of(_sizes(node) or (features,), common[2])
    scale = number(_float(node.attributes.get("scale", 1.0)))
    return ChoicesView(*common, groups=groups, outputs=_outputs(model, node), scale=scale)


def _bounded(model: Model, node: Node, common: Common) -> LayerView:
    if model.tensors[node.outputs[0]].dtype is DType.FLOAT64:
        return BoundedView(*common, dtype="float64", load="load_double", store="store_double")
    return BoundedView(*common)


def _normalize(model: Model, node: Node, common: Common) -> LayerView:
    clip = _float(node.attributes["clip"])
    return NormalizeView(*common, low=number(-clip), high=number(clip))


def _affine(model: Model, node: Node, common: Common) -> LayerView:
    return RaggedView(*common, outputs=_outputs(model, node))


def _prelu(model: Model, node: Node, common: Common) -> LayerView:
    one_slope = model.tensors[node.inputs[1]].elements == 1
    return PreluView(*common, outputs=_outputs(model, node), one_slope=one_slope)


def _lstm(model: Model, node: Node, common: Common) -> LayerView:
    return LstmView(*common, outputs=_outputs(model, node))


def _quantile_mean(model: Model, node: Node, common: Common) -> LayerView:
    outputs = _outputs(model, node)
    return QuantileView(*common, outputs=outputs, quantiles=model.tensors[node.inputs[0]].elements // outputs)


def _concat(model: Model, node: Node, common: Common) -> LayerView:
    return ConcatView(*common, widths=tuple(model.tensors[name].elements for name in node.inputs))


def _mask(model: Model, node: Node, common: Common) -> LayerView:
    return LimitView(*common, limit=number(MASKED))


def _bernoulli_mode(model: Model, node: Node, common: Common) -> LayerView:
    return LimitView(*common, limit=number(LARGEST_EVEN_LOGIT))


def _outputs(model: Model, node: Node) -> int:
    return model.tensors[node.outputs[0]].elements


def _sizes(node: Node) -> tuple[int, ...]:
    sizes = node.attributes["sizes"]
    assert isinstance(sizes, tuple)
    return tuple(size for size in sizes if isinstance(size, int))


def _float(value: object) -> float:
    assert isinstance(value, float)
    return value


PLAIN = ("add", "reset")
"""Ops whose kernels need to know no more than what all of them know."""

VIEWS: Mapping[str, Callable[[Model, Node, Common], LayerView]] = {
    "affine": _affine,
    "argmax": _choices,
    "bernoulli_mode": _bernoulli_mode,
    "clip": _bounded,
    "concat": _concat,
    "dense": _dense,
    "log_softmax": _choices,
    "lookup": _lookup,
    "lstm_cell": _lstm,
    "lstm_hidden": _lstm,
    "mask": _mask,
    "masked_argmax": _choices,
    "normalize": _normalize,
    "one_hot": _choices,
    "prelu": _prelu,
    "quantile_mean": _quantile_mean,
    "rescale": _bounded,
    "softmax": _choices,
}
"""Who makes the view of an op's kernel."""
