"""
The op table: one row for each op that a model may hold, one file for each family.

`docs/adding-an-op.md` has the recipe.
"""

from compiler.ops import (
    arithmetic,
    choices,
    contraction,
    convolution,
    dense,
    elementwise,
    general_norms,
    heads,
    image,
    normalization,
    rearranging,
    recurrent,
    reduction,
    sequence,
    shapes,
    unary,
    upsampling,
    winograd,
)
from compiler.ops.table import Array, Attributes, Op, TensorType

FAMILIES = (
    *(shapes, dense, convolution, recurrent, normalization, elementwise, choices, heads),  # of policies
    *(
        rearranging,
        arithmetic,
        unary,
        reduction,
        general_norms,
        contraction,
        image,
        upsampling,
        sequence,
        winograd,
    ),  # of the rest
)

OPS: dict[str, Op] = {row.name: row for family in FAMILIES for row in family.ROWS}

__all__ = ["OPS", "Array", "Attributes", "Op", "TensorType"]
