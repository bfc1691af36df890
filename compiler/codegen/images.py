"""
The views of the kernels that work on images.
"""

from dataclasses import astuple, dataclass, replace

from compiler.codegen.convolution import convolution_view, pair_of, sum_of
from compiler.codegen.expressions import plus, share, signature
from compiler.codegen.layer import Common, LayerView
from compiler.codegen.naming import comment
from compiler.ir import Model, Node
from compiler.ops.convolution import CHANNELS_FIRST, image_sizes

IMAGE_OPS = ("convolution", "pad", "channels_first")
"""The ops whose views are made here."""
FIRST_LEVEL = 8192
"""float32 that the first level of a core's caches has room for."""


@dataclass(frozen=True)
class PadView(LayerView):
    """
    Zeros around images: planes of rows of values.
    """

    planes: int = 0
    rows: int = 0
    length: int = 0
    above: int = 0
    """Rows of zeros above and below."""
    beside: int = 0
    """Zeros to the left and to the right."""
    outputs: int = 0

    @property
    def divided(self) -> bool:
        """
        Whether threads have rows of the result of their own.
        """
        return self.dividing

    @property
    def signature(self) -> str:
        """
        The first line of the kernel.
        """
        return signature(self.function, ["source", "target"], divided=self.divided)

    @property
    def row_range(self) -> str:
        """
        The rows of the result that a part computes.
        """
        return f"range({share(str(self.rows + 2 * self.above))})"

    @property
    def width(self) -> int:
        """
        Values of a row of the result.
        """
        return self.length + 2 * self.beside

    @property
    def room(self) -> int:
        """
        Values of the result, padded to whole registers.
        """
        return -(-self.outputs // self.lanes) * self.lanes

    @property
    def whole(self) -> int:
        """
        Values of a row that fill whole registers.
        """
        return self.length - self.length % self.lanes

    @property
    def source(self) -> str:
        """
        Where a row begins in the image.
        """
        return sum_of(("plane" if self.planes > 1 else "0", self.rows * self.length), ("row", self.length))

    @property
    def target(self) -> str:
        """
        Where its values begin in the result.
        """
        length = self.length + 2 * self.beside
        plane = "plane" if self.planes > 1 else "0", (self.rows + 2 * self.above) * length
        return plus(sum_of(plane, ("row", length)), self.above * length + self.beside)


@dataclass(frozen=True)
class ChannelsFirstView(LayerView):
    """
    The transposition of an image.
    """

    channels: int = 0
    pixels: int = 0

    @property
    def large(self) -> bool:
        """
        Whether the first level of caches has no room for an image, so that it is better read line by line.
        """
        return self.channels * self.pixels > FIRST_LEVEL


def image_view(model: Model, node: Node, common: LayerView) -> LayerView:
    """
    The view of one node on images.
    """
    source, result = model.tensors[node.inputs[0]].fixed_shape, model.tensors[node.outputs[0]].fixed_shape
    images = "image of {} x {} x {} to {} x {} x {}".format(*source, *result)
    activation = node.attributes.get("activation")
    then = f", then {activation}" if activation else ""
    fields: Common = astuple(replace(common, title=f"`{comment(node.name)}`: {node.op}, {images}{then}"))
    if node.op == "convolution":
        return convolution_view(model, node, fields)
    if node.op == "pad":
        return _pad_view(model, node, fields)
    height, width, channels = source
    return ChannelsFirstView(*fields, channels=channels, pixels=height * width)


def _pad_view(model: Model, node: Node, common: Common) -> PadView:
    source = model.tensors[node.inputs[0]]
    layout = str(node.attributes["layout"])
    channels, height, width = image_sizes(node.op, source, layout)
    above, beside = pair_of(node.attributes["padding"])
    first = layout == CHANNELS_FIRST
    return PadView(
        *common,
        planes=channels if first else 1,
        rows=height,
        length=width if first else width * channels,
        above=above,
        beside=beside if first else beside * channels,
        outputs=model.tensors[node.outputs[0]].elements,
    )
