"""
The flat views that kernel templates see: one for each node, all decisions made.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from compiler.codegen.convolution import IMAGE_OPS, image_view
from compiler.codegen.layer import LayerView
from compiler.codegen.naming import comment
from compiler.errors import BuildError, quote
from compiler.ir import DType, Model, Node
from compiler.ops import OPS
from compiler.ops.dense import COLUMNS
from compiler.resources import resource

CHAINS = 4
"""Sums that must be under way at once to hide the latency of a multiply-add."""
TILE = 8
"""Outputs that a block kernel computes at once, each in a register."""


@dataclass(frozen=True)
class ColumnsView(LayerView):
    """
    A dense layer whose outputs stay in registers while the inputs go by.
    """

    outputs: int = 0
    blocks: int = 0
    width: int = 0

    @property
    def inputs(self) -> int:
        """
        Values that the layer takes.
        """
        return self.features

    @property
    def registers(self) -> int:
        """
        Registers that the outputs of one block take.
        """
        return self.width // self.lanes

    @property
    def chains(self) -> int:
        """
        Partial sums for each register, so that enough multiply-adds are independent.
        """
        return min(self.inputs, -(-CHAINS // self.registers))

    @property
    def whole(self) -> int:
        """
        Inputs that the loop over all chains takes; the rest follows one by one.
        """
        return self.inputs - self.inputs % self.chains

    @property
    def accumulators(self) -> list[tuple[int, int]]:
        """
        (register, chain) of every partial sum.
        """
        return [(register, chain) for chain in range(self.chains) for register in range(self.registers)]

    def name(self, register: int, chain: int) -> str:
        """
        The variable of a partial sum.
        """
        return f"a{register}" if self.chains == 1 else f"a{register}_{chain}"

    def fma(self, register: int, chain: int, weight: str) -> str:
        """
        The statement that adds input `i + chain` to a partial sum.
        """
        row = times(plus("i", chain), str(self.width))
        return self._fma(self.name(register, chain), weight, plus(row, register * self.lanes))

    def fma_rest(self, register: int, i: int, weight: str) -> str:
        """
        The statement that adds an input left over by the loop.
        """
        return self._fma(self.name(register, 0), weight, str(i * self.width + register * self.lanes))

    def _fma(self, name: str, weight: str, place: str) -> str:
        return f"{name} = fma(x, load({weight}, {place}), {name})"

    def sum(self, register: int) -> str:
        """
        The expression that adds the partial sums of a register.
        """
        return " + ".join(self.name(register, chain) for chain in range(self.chains))

    @property
    def tile(self) -> int:
        """
        Outputs at once in the block kernel.
        """
        return next(size for size in (TILE, 4, 2, 1) if self.width % size == 0)

    @property
    def tiles(self) -> int:
        """
        Tiles that cover the outputs.
        """
        return -(-self.outputs // self.tile)

    @property
    def place(self) -> str:
        """
        Where the weights of the tile that begins with output `first` begin.
        """
        if self.blocks == 1:
            return "first"
        return f"first // {self.width} * {self.inputs * self.width} + first % {self.width}"


@dataclass(frozen=True)
class RowsView(LayerView):
    """
    A dense layer of few outputs, each a dot product.
    """

    outputs: int = 0

    @property
    def inputs(self) -> int:
        """
        Values that the layer takes.
        """
        return self.features

    @property
    def rest(self) -> int:
        """
        Inputs that are left over by whole registers; what stands behind them in the workspace may be NaN.
        """
        return self.inputs % self.lanes

    @property
    def whole(self) -> int:
        """
        Inputs that fill whole registers.
        """
        return self.inputs - self.rest

    @property
    def groups(self) -> list[range]:
        """
        Outputs that are computed together, each in a register.
        """
        return [range(first, min(first + TILE, self.outputs)) for first in range(0, self.outputs, TILE)]


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


def number(value: float) -> str:
    """
    The source of a number, finite or not.
    """
    return repr(value) if math.isfinite(value) else f"np.{value}" if value > 0 or value != value else "-np.inf"


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


def plus(expression: str, number: int) -> str:
    """
    The expression plus a number, the shorter way.
    """
    if number == 0:
        return expression
    return str(number) if expression == "0" else f"{expression} + {number}"


def times(expression: str, factor: str) -> str:
    """
    The expression times a factor, with parentheses where they are needed.
    """
    if expression == "0":
        return "0"
    return f"({expression}) * {factor}" if " " in expression else f"{expression} * {factor}"


def steps(stop: int, step: int) -> str:
    """
    The range from 0 to `stop`, the shorter way.
    """
    return f"range({stop})" if step == 1 else f"range(0, {stop}, {step})"


def activated(expression: str, layer: LayerView) -> str:
    """
    The expression with the layer's activation applied.
    """
    return f"{layer.activation}({expression}{layer.arguments})" if layer.activation else expression
