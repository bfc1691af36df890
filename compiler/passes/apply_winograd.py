"""
Multiplies transforms of tiles and filters, where those are fewer products than a convolution takes.
"""

from dataclasses import replace

from compiler.ir import Model, Node
from compiler.ops import OPS, Array
from compiler.ops.convolution import CHANNELS_LAST, unpack
from compiler.ops.winograd import GROUP, POINTS, WINDOW, packed, transformed, unpacked
from compiler.ops.winograd_plan import ARRIVAL, LARGE, Plan
from compiler.options import BuildOptions
from compiler.passes.constants import Constants

GAIN = 1.2
"""How many times less a layer must cost."""


def apply_winograd(model: Model, options: BuildOptions) -> Model:
    """
    Turns `convolution` of 3 x 3 into `winograd`, with a half or a quarter of the products, where that is faster.

    The weight of that is packed for registers of `options.lanes` values; one that is packed for others is packed anew.
    Policies keep their convolutions, which are small. So do models that must give infinity where PyTorch does: of that,
    transforms would make NaN. Processors without registers of several values have little memory, and the transforms of
    filters take up to four times as much as these.
    """
    if model.policy is not None or options.nonfinite == "propagate" or options.lanes == 1:
        return model
    constants = Constants(model)
    return constants.result([_applied(constants, node, options.lanes) for node in model.nodes])


def _applied(constants: Constants, node: Node, lanes: int) -> Node:
    if node.op == "winograd":
        weight = constants.data(replace(node, inputs=node.inputs[:2]))[0]
        width = _width(weight.shape[0] * weight.shape[-1], lanes)
        arrays = [packed(unpacked(weight), width)]
        return node if weight.shape[-1] == width else _reading(constants, node, arrays)
    size = tile_size(constants.model, node)
    if not size:
        return node
    weight, bias = constants.data(replace(node, inputs=node.inputs[:3]))
    filters = int(str(node.attributes["filters"]))
    plain = unpack(weight, CHANNELS_LAST, filters)
    rest = {key: value for key, value in node.attributes.items() if key not in OPS["convolution"].attributes}
    rest["activation"] = node.attributes["activation"]
    arrays = [transformed(plain, size, _width(filters, lanes)), bias[:filters]]
    return _reading(constants, replace(node, op="winograd", attributes=rest), arrays)


def _width(filters: int, lanes: int) -> int:
    """
    Filters in a block: two of the widest registers, or one where two would leave filters over.
    """
    return 2 * GROUP if lanes == GROUP and filters % (2 * GROUP) == 0 else GROUP


def _reading(constants: Constants, node: Node, arrays: list[Array]) -> Node:
    last = 1 + len(arrays)
    names = constants.replace(node.inputs[1:last], arrays, "transformed")
    return replace(node, inputs=(node.inputs[0], *names, *node.inputs[last:]))


def tile_size(model: Model, node: Node) -> int:
    """
    Rows and columns of the tiles with which a node costs least; 0 if it costs less without, or is no such convolution.
    """
    if node.op != "convolution" or node.attributes["layout"] != CHANNELS_LAST:
        return 0
    _, rows, columns, channels, _ = model.tensors[node.inputs[1]].fixed_shape
    height, width, filters = model.tensors[node.outputs[0]].fixed_shape
    plain = node.attributes["stride"] == node.attributes["dilation"] == (1, 1)
    if not plain or (rows, columns) != (WINDOW, WINDOW) or channels % GROUP or filters % GROUP:
        return 0
    weights = rows * columns * channels * filters
    costs = {0: weights * (height * width + ARRIVAL * (weights > LARGE)) / GAIN}
    for size in POINTS:
        if min(height, width) >= size - WINDOW + 1:
            block = _width(filters, GROUP)
            costs[size] = Plan(height, width, channels, filters // block, block, size).cost
    return min(costs, key=costs.__getitem__)
