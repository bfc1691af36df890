"""
The flat views that kernel templates see: one for each node, all decisions made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from compiler.codegen.convolution import IMAGE_OPS, image_view
from compiler.codegen.dense import ColumnsView, RowsView
from compiler.codegen.expressions import activated, number, plus, steps, times
from compiler.codegen.layer import LayerView
from compiler.codegen.naming import comment
from compiler.errors import BuildError, quote
from compiler.ir import DType, Model, Node
from compiler.ops import OPS
from compiler.ops.dense import COLUMNS
from compiler.resources import resource

__all__ = ["activated", "function_names", "layer_view", "number", "plus", "steps", "template_name", "times"]


@dataclass(frozen=True)
class BoundedView(LayerView):
    """
    Clipping or rescaling to bounds, in the dtype of the result.
    """

    dtype: str = "float32"
    load: str = "load_scalar"
    store: str = "store_scalar"


@dataclass(frozen=True)
class SoftmaxView(LayerView):
    """
    Softmax of scaled inputs.
    """

    scale: str = "1.0"


def layer_view(model: Model, node: Node, function: str, lanes: int) -> LayerView:
    """
    The view of one node.

    Raises:
        BuildError: if the node is of an op that has no kernel yet.
    """
    features = model.tensors[node.inputs[0]].elements
    title = f"{comment(node.name)}: {_title(model, node)}"
    activation, arguments = _activation(node)
    common = (function, title, lanes, features, activation, arguments)
    if node.op == "dense":
        outputs, weight = model.tensors[node.outputs[0]].elements, model.tensors[node.inputs[1]].fixed_shape
        if node.attributes["layout"] == COLUMNS:
            return ColumnsView(*common, outputs=outputs, blocks=weight[0], width=weight[2])
        return RowsView(*common, outputs=outputs)
    if node.op in ("clip", "rescale"):
        if model.tensors[node.outputs[0]].dtype is DType.FLOAT64:
            return BoundedView(*common, dtype="float64", load="load_double", store="store_double")
        return BoundedView(*common)
    if node.op in IMAGE_OPS:
        return image_view(model, node, LayerView(*common))
    if node.op == "softmax":
        return SoftmaxView(*common, scale=number(_float(node.attributes["scale"])))
    if OPS[node.op].elementwise or node.op in ("argmax", "log_softmax"):
        return LayerView(*common)
    raise BuildError("codegen", f"node {quote(node.name)}: there is no kernel for op {node.op}")


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


@cache
def function_names() -> set[str]:
    """
    The functions of vectors that there are templates for.
    """
    return {path.name.split(".")[0] for path in resource("templates").joinpath("functions").iterdir()}


def _filled(template: str, attributes: Mapping[str, object]) -> str:
    return template.format(**attributes)


def _float(value: object) -> float:
    assert isinstance(value, float)
    return value


def _title(model: Model, node: Node) -> str:
    inputs, outputs = (model.tensors[name].elements for name in (node.inputs[0], node.outputs[0]))
    text = f"{inputs} inputs, {outputs} outputs" if node.op == "dense" else f"{node.op} of {inputs} values"
    activation = node.attributes.get("activation")
    return f"{text}, then {activation}" if activation else text
