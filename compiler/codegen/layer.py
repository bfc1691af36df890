"""
What the views of all kernels have in common.
"""

from dataclasses import dataclass


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

    @property
    def padded(self) -> int:
        """
        The features, padded to whole registers.
        """
        return -(-self.features // self.lanes) * self.lanes
