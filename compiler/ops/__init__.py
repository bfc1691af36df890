"""
The op table: one row for each op that a model may hold, one file for each family.

`docs/adding-an-op.md` has the recipe.
"""

from compiler.ops import choices, convolution, dense, elementwise, heads, normalization, recurrent, shapes
from compiler.ops.table import Array, Attributes, Op, TensorType

FAMILIES = (shapes, dense, convolution, recurrent, normalization, elementwise, choices, heads)

OPS: dict[str, Op] = {row.name: row for family in FAMILIES for row in family.ROWS}

__all__ = ["OPS", "Array", "Attributes", "Op", "TensorType"]
