"""
What translations of graphs have in common: values of a general model, beside what is known at build time.
"""

from dataclasses import dataclass

from compiler.ir import DType

LARGEST_INTEGER = 1 << 24
"""Predictors keep integers as float32: exact up to here."""
ORDER = (DType.BOOL, DType.INT64, DType.FLOAT32)
"""What becomes what, where values of different kinds meet."""


@dataclass(frozen=True)
class Computed:
    """
    A tensor of the model: (BATCH, *dims).
    """

    name: str
    dtype: DType
    dims: tuple[int, ...]
