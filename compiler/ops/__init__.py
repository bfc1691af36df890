"""
The op table: one row for each op that a model may hold, one file for each family.

`docs/adding-an-op.md` has the recipe.
"""

from compiler.ops import dense, elementwise, heads, shapes
from compiler.ops.table import Array, Attributes, Op, TensorType

OPS: dict[str, Op] = {row.name: row for family in (shapes, dense, elementwise, heads) for row in family.ROWS}

__all__ = ["OPS", "Array", "Attributes", "Op", "TensorType"]
