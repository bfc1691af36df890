"""
A size that is known at run time only: the length of a sequence, between two bounds.
"""

from typing import Any


class Length(int):
    """
    The length of a sequence, or that and a fixed number more or less: as an int, the largest that it may be.

    What is laid out, padded or counted for it is so for the largest; `at` gives the size for one length. Adding and
    subtracting plain integers gives a size that follows the length as well; all else gives plain integers of the
    largest. It equals no plain integer, so that a size that follows the length is never taken for one that does not.

    Attributes:
        name: what callers call it.
        least: the smallest length.
        most: the largest.
        shift: what this size is larger than the length.
    """

    name: str
    least: int
    most: int
    shift: int

    def __new__(cls, name: str, least: int, most: int, shift: int = 0) -> "Length":
        """
        The size that is `shift` larger than the length of this name, between these bounds.
        """
        made = super().__new__(cls, most + shift)
        made.name, made.least, made.most, made.shift = name, least, most, shift
        return made

    def __getnewargs__(self) -> Any:  # int has it without arguments, for copies
        return self._key

    @property
    def _key(self) -> tuple[str, int, int, int]:
        return self.name, self.least, self.most, self.shift

    @property
    def bounds(self) -> tuple[str, int, int]:
        """
        What all sizes that follow one length have in common: its name, the smallest, the largest.
        """
        return self.name, self.least, self.most

    def at(self, length: int) -> int:
        """
        The size where the sequence has this length.
        """
        return length + self.shift

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Length) else False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._key)

    def __add__(self, other: int) -> int:
        if type(other) is int:
            return Length(self.name, self.least, self.most, self.shift + other)
        return super().__add__(other)

    __radd__ = __add__

    def __sub__(self, other: int) -> int:
        return self + -other if type(other) is int else super().__sub__(other)

    @property
    def text(self) -> str:
        """
        The size in terms of the length: `length + 1`.
        """
        if not self.shift:
            return self.name
        return f"{self.name} {'+' if self.shift > 0 else '-'} {abs(self.shift)}"

    def __repr__(self) -> str:
        return f"{self.text}<={int(self)}".replace(" ", "")

    __str__ = __repr__
