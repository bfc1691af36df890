"""
Lays the weights of convolutions, and the images between them, out as the kernels read them.
"""

from dataclasses import replace

import numpy as np

from compiler.ir import Attribute, Model, Node, Shape, Tensor
from compiler.ops import OPS, Array
from compiler.ops.convolution import CHANNELS_FIRST, CHANNELS_LAST, pack, pair, unpack
from compiler.ops.tiles import best_tiling, tiled_sides
from compiler.options import BuildOptions
from compiler.passes.constants import Constants, readers_of
from compiler.passes.sink_reshapes import TOGETHER


def pack_convolutions(model: Model, options: BuildOptions) -> Model:
    """
    Turns `conv2d` into `convolution`, which leaves images with channels last, and adapts what follows.

    Element-wise nodes and pooling compute with channels last as well as first; so does a `linear` after what makes a
    row of the image, with its columns in another order. For all else, `channels_first` copies the image back. Padding
    becomes a node of its own. A `convolution` that is packed for other registers is packed anew.
    """
    packing = _Packing(model, options.lanes)
    for node in model.nodes:
        packing.add(node)
    return packing.constants.result(packing.nodes)


class _Packing:
    def __init__(self, model: Model, lanes: int) -> None:
        self.model = model
        self.lanes = lanes
        self.constants = Constants(model)
        self.readers = readers_of(model)
        self.nodes: list[Node] = []
        self.flattened: dict[str, tuple[int, ...]] = {}
        """The images that were flattened with channels last, by the result: channels, height, width."""
        self.last: dict[str, str] = {}
        """The tensors of the model that there are with channels last, and how they are called there."""
        self.images = _images(model)

    def add(self, node: Node) -> None:
        """
        Adds what a node becomes.
        """
        source = node.inputs[0]
        if node.op == "convolution":
            self._repack(node)
        elif node.op == "conv2d":
            self._convolve(node)
        elif source in self.last and self._is_row(node) and self._is_matrix_input(node):
            self.flattened[node.outputs[0]] = self.model.tensors[source].fixed_shape
            self._leave(replace(node, inputs=(self.last[source],)), self._shape(node.outputs[0]))
        elif source in self.last and node.op == "linear":
            self._permute(node)
        elif node.outputs[0] in self.images:
            attributes = {**node.attributes, "layout": CHANNELS_LAST} if node.op == "pool2d" else node.attributes
            inputs = tuple(self.last[name] for name in node.inputs)
            shape = _channels_last(self._shape(node.outputs[0]))
            self._leave(replace(node, inputs=inputs, attributes=attributes), shape)
        else:
            self.nodes.append(node)

    def _convolve(self, node: Node) -> None:
        weight, bias = self.constants.data(node)
        source = self.last.get(node.inputs[0], node.inputs[0])
        layout = CHANNELS_LAST if node.inputs[0] in self.last else CHANNELS_FIRST
        padding = node.attributes["padding"]
        if padding != (0, 0):
            source = self._pad(node, source, {"layout": layout, "padding": padding})
        shape = _channels_last(self._shape(node.outputs[0]))
        attributes: dict[str, Attribute] = {
            "layout": layout,
            "stride": node.attributes["stride"],
            "dilation": node.attributes["dilation"],
            "filters": len(weight),
            "activation": "",
        }
        constants = self._packed(node, weight, bias, layout, shape)
        packed = replace(node, op="convolution", inputs=(source, *constants), attributes=attributes)
        self._leave(packed, shape)

    def _repack(self, node: Node) -> None:
        weight, bias = self.constants.data(replace(node, inputs=node.inputs[:3]))
        layout, filters = str(node.attributes["layout"]), int(str(node.attributes["filters"]))
        plain = unpack(weight, layout, filters)
        constants = self._packed(node, plain, bias[:filters], layout, self._shape(node.outputs[0]))
        packed = replace(node, inputs=(node.inputs[0], *constants, *node.inputs[3:]))
        full = self.constants.tensors[constants[1]].elements == filters
        self.nodes += [packed] if full or not node.inputs[3:] else self._apart(packed)

    def _apart(self, node: Node) -> list[Node]:
        """
        A convolution, its sum and its activation as nodes of their own: it can add only where its blocks are full.
        """
        *inputs, added = node.inputs
        own = {key: value for key, value in node.attributes.items() if key in OPS[node.op].attributes}
        rest = {key: value for key, value in node.attributes.items() if key not in own}
        (result,), activation = node.outputs, str(own["activation"])
        convolved = self._like(result, "convolved")
        total = self._like(result, "sum") if activation else result
        return [
            replace(node, inputs=tuple(inputs), outputs=(convolved,), attributes={**own, "activation": ""}),
            Node("plus", f"{node.name}:sum", (convolved, added), (total,)),
            *([Node(activation, f"{node.name}:{activation}", (total,), (result,), rest)] if activation else []),
        ]

    def _like(self, name: str, suffix: str) -> str:
        """
        Declares a tensor like another.
        """
        found = self.constants.unused(f"{name}:{suffix}")
        self.constants.tensors[found] = replace(self.constants.tensors[name], name=found)
        return found

    def _packed(self, node: Node, weight: Array, bias: Array, layout: str, shape: Shape) -> tuple[str, ...]:
        """
        The names of the packed weight and bias, for a result of this shape.
        """
        _, height, width, filters = (int(size) if isinstance(size, int) else 0 for size in shape)
        sides = tiled_sides(height, width, weight.shape[2:], pair("convolution", node.attributes, "stride", 1))
        tiling = best_tiling(*sides, filters, weight.shape[1:], self.lanes)
        packed = pack(weight, layout, tiling.vectors * self.lanes)
        padded = np.pad(bias, (0, packed.shape[0] * packed.shape[-1] - filters))
        return self.constants.replace(node.inputs[1:3], [packed, padded], "packed")

    def _pad(self, node: Node, source: str, attributes: dict[str, Attribute]) -> str:
        """
        Puts zeros around an image; returns the name of the result.
        """
        name = self.constants.unused(f"{node.outputs[0]}:padded")
        (kind,) = OPS["pad"].infer([self.constants.tensors[source]], attributes)
        self.constants.tensors[name] = Tensor(name, kind.dtype, kind.shape)
        self.nodes.append(Node("pad", f"{node.name}:padded", (source,), (name,), attributes))
        return name

    def _leave(self, node: Node, shape: Shape) -> None:
        """
        Adds a node with channels last, whose result has this shape, and a copy as before for those that need that.
        """
        name = node.outputs[0]
        before = self.model.tensors[name]
        self.last[name] = self.constants.unused(f"{name}:channels_last")
        self.constants.tensors[self.last[name]] = Tensor(self.last[name], before.dtype, shape)
        self.nodes.append(replace(node, outputs=(self.last[name],)))
        followers = self.readers.get(name, [])
        if self.model.is_result(name) or not all(self._follows(reader, name) for reader in followers):
            self.nodes.append(Node("channels_first", f"{node.name}:channels_first", (self.last[name],), (name,)))

    def _follows(self, node: Node, name: str) -> bool:
        """
        Whether a node is computed with channels last.
        """
        if node.outputs[0] in self.images:
            return node.op != "conv2d" or node.inputs.count(name) == 1
        linear = node.op == "linear" and node.inputs.count(name) == 1
        return linear or (self._is_row(node) and self._is_matrix_input(node))

    def _is_row(self, node: Node) -> bool:
        """
        Whether a node makes a row of an image.
        """
        return node.op == "flatten" or (node.op == "reshape" and len(self._shape(node.outputs[0])) == 2)

    def _is_matrix_input(self, flatten: Node) -> bool:
        """
        Whether only the constant matrices of linear layers meet what is flattened, so that they can be reordered.
        """
        name = flatten.outputs[0]
        readers = self.readers.get(name, [])
        linear = all(node.op == "linear" and self.model.tensors[node.inputs[1]].data is not None for node in readers)
        return linear and not self.model.is_result(name)

    def _permute(self, node: Node) -> None:
        """
        Adds a linear layer that reads a flattened image with channels last.
        """
        weight = self.constants.data(node)[0]
        images = weight.reshape(len(weight), *self.flattened[node.inputs[0]])
        reordered = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).reshape(weight.shape)
        (name,) = self.constants.replace(node.inputs[1:2], [reordered], "channels_last")
        self.nodes.append(replace(node, inputs=(self.last[node.inputs[0]], name, node.inputs[2])))

    def _shape(self, name: str) -> Shape:
        return self.model.tensors[name].shape


def _images(model: Model) -> set[str]:
    """
    What is computed with channels last: the results of convolutions, and what is made of such images alone.
    """
    found: set[str] = set()
    for node in model.nodes:
        if node.op == "conv2d":
            found.update(node.outputs)
        elif found.issuperset(node.inputs):
            shapes = {model.tensors[name].shape for name in (*node.inputs, *node.outputs)}
            together = node.op in TOGETHER and len(shapes) == 1
            if OPS[node.op].elementwise or together or node.op == "pool2d":
                found.update(node.outputs)
    return found


def _channels_last(shape: Shape) -> Shape:
    batch, channels, height, width = shape
    return batch, height, width, channels
