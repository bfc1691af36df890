"""
The views of the kernels that work on images.
"""

from compiler.codegen.layer import LayerView
from compiler.ir import Model, Node

IMAGE_OPS = ("convolution", "pad", "channels_first")
"""The ops whose views are made here."""


def image_view(model: Model, node: Node, common: LayerView) -> LayerView:
    """
    The view of one node on images.
    """
    return common
