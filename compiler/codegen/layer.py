"""
What the views of all kernels have in common.
"""

from dataclasses import dataclass
from typing import TypeAlias

Common: TypeAlias = tuple[str, str, int, int, str, str, bool]
"""The fields of `LayerView`, in order."""


@dataclass(frozen=True)
class LayerView:
    """
    What every kernel template sees.
    """

    function: str
    """The kernel's name in the generated module."""
    title: str
    """One line for the docstring."""
    lanes: int
    features: int
    """Values of the input per observation."""
    activation: str = ""
    """The element-wise function to apply to a result, and `arguments` after it."""
    arguments: str = ""
    dividing: bool = False
    """Whether the kernel is to be divided among threads, if it can."""

    @property
    def divided(self) -> bool:
        """
        Whether it is: it then takes which part it computes, and of how many.
        """
        return False

    @property
    def padded(self) -> int:
        """
        The features, padded to whole registers.
        """
        return -(-self.features // self.lanes) * self.lanes


@dataclass(frozen=True)
class RaggedView(LayerView):
    """
    A layer whose constants are not padded to whole registers.
    """

    outputs: int = 0
    """Values of the result per observation."""

    @property
    def rest(self) -> int:
        """
        Results that are left over by whole registers.
        """
        return self.outputs % self.lanes

    @property
    def whole(self) -> int:
        """
        Results that fill whole registers.
        """
        return self.outputs - self.rest

    @property
    def ragged(self) -> str:
        """
        Where what is left over begins, and how much it is: arguments of `load_head`.
        """
        return f"{self.whole}, {self.rest}"
