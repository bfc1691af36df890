"""
What a model file may hold at most, in both directions: what can be written can be read.
"""

from collections.abc import Sequence
from typing import NoReturn

from compiler.check import MAXIMUM_RANK
from compiler.errors import ModelFileError, quote
from compiler.ir import Dimension

SCHEMA_VERSION = 2
"""The newest version of `schemas/model.capnp` that is written and read."""
LENGTHS = 2
"""The version that is needed where sizes follow a length; 1 where none does."""
NEEDS = "0.1.0"
"""The first release of policyc that reads these versions."""
ALIGNMENT = 64
"""In bytes: of the blob in the file, and of each array in the blob."""
MAXIMUM_HEAD = 16 << 20
"""Bytes before the blob."""
MAXIMUM_BLOB = (1 << 29) - ALIGNMENT
"""Bytes of the blob: what a Cap'n Proto Data can count, aligned."""
MAXIMUM_ITEMS = 1 << 17
"""Elements of all lists together."""
MAXIMUM_DEPTH = 16
"""Levels of Dict in Dict, the outermost included."""


class Bounded:
    """
    One pass over a model, in or out, that refuses what exceeds the bounds.

    Args:
        where: the file or model, for messages.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._items = 0

    def refuse(self, finding: str) -> NoReturn:
        """
        Raises ModelFileError.
        """
        raise ModelFileError(self.where, finding)

    def count(self, items: int) -> int:
        """
        Counts the elements of one more list, before any of them is touched; returns their number.
        """
        self._items += items
        if self._items > MAXIMUM_ITEMS:
            self.refuse(f"all lists together have more than {MAXIMUM_ITEMS} elements")
        return items

    def check_shape(self, shape: Sequence[Dimension], what: str) -> None:
        """
        Refuses too many dimensions and sizes that no array has.
        """
        if len(shape) > MAXIMUM_RANK:
            self.refuse(f"{what} has {len(shape)} dimensions; at most {MAXIMUM_RANK} are allowed")
        if not all(isinstance(size, str) or 1 <= size < 1 << 63 for size in shape):
            self.refuse(f"{what} has shape {quote(tuple(shape))}; every dimension must be at least 1")

    def check_depth(self, depth: int) -> None:
        """
        Refuses Dict spaces that are nested too deep.
        """
        if depth > MAXIMUM_DEPTH:
            self.refuse(f"Dict spaces are nested more than {MAXIMUM_DEPTH} deep")

    def check_different(self, names: Sequence[str], what: str) -> None:
        """
        Refuses the first name that comes twice.
        """
        seen: set[str] = set()
        for name in names:
            if name in seen:
                self.refuse(f"two {what} have the name {quote(name)}")
            seen.add(name)
