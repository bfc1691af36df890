"""
The views of the kernels that work feature by feature.
"""

from dataclasses import dataclass

from compiler.codegen.expressions import signature
from compiler.codegen.layer import LayerView, RaggedView


@dataclass(frozen=True)
class BoundedView(LayerView):
    """
    Clipping or rescaling to bounds, in the dtype of the result.
    """

    dtype: str = "float32"
    load: str = "load_scalar"
    store: str = "store_scalar"


@dataclass(frozen=True)
class NormalizeView(LayerView):
    """
    Observations in units of their deviation, clipped.
    """

    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class LimitView(LayerView):
    """
    What a number decides: the threshold of a bit, the value of what is masked.
    """

    limit: str = ""


@dataclass(frozen=True)
class PreluView(RaggedView):
    """
    Learned slopes below zero.
    """

    one_slope: bool = False
    """Whether all features have the same slope."""


@dataclass(frozen=True)
class LstmView(RaggedView):
    """
    A part of an LSTM's step. The gates lie side by side.
    """

    def gate(self, number: int) -> str:
        """
        What is left over by whole registers of a gate: arguments of `load_head`.
        """
        return f"{number * self.outputs + self.whole}, {self.rest}"


@dataclass(frozen=True)
class QuantileView(RaggedView):
    """
    Means over quantiles, which lie one after the other, each with all actions.
    """

    quantiles: int = 1


@dataclass(frozen=True)
class Part:
    """
    A tensor that another one is put together of.
    """

    name: str
    """The kernel's argument."""
    first: int
    """Where it begins in the result."""
    features: int
    rest: int
    """Values that are left over by whole registers."""

    @property
    def whole(self) -> int:
        """
        Values that fill whole registers.
        """
        return self.features - self.rest


@dataclass(frozen=True)
class ConcatView(LayerView):
    """
    Features of several tensors, in order.
    """

    widths: tuple[int, ...] = ()

    @property
    def parts(self) -> list[Part]:
        """
        What is put side by side.
        """
        firsts = [sum(self.widths[:number]) for number in range(len(self.widths))]
        return [
            Part(f"source{number}", first, width, width % self.lanes)
            for number, (first, width) in enumerate(zip(firsts, self.widths, strict=True))
        ]

    def signature(self, name: str) -> str:
        """
        The first line, or lines, of a kernel of this name.
        """
        return signature(name, [*(part.name for part in self.parts), "target"])
