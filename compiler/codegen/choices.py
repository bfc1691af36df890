"""
The views of the kernels that make choices, or look up what was chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from compiler.codegen.expressions import plus
from compiler.codegen.layer import LayerView, RaggedView


@dataclass(frozen=True)
class Group:
    """
    Neighbouring choices among as many values each; more than one are computed in a loop over `k`.
    """

    first: int
    """Where the values of the first of them begin."""
    number: int
    """How many choices there are before them."""
    size: int
    count: int
    whole: int
    """Values of a choice that are computed in whole registers; `rest` are left over."""
    rest: int

    def at(self, variable: str = "", more: int = 0) -> str:
        """
        The place of a value: the choice's first, plus a variable, plus a number.
        """
        return _sum(variable, self.count > 1 and self.size, self.first + more)

    @property
    def index(self) -> str:
        """
        The number of the choice.
        """
        return _sum("", int(self.count > 1), self.number)


@dataclass(frozen=True)
class ChoicesView(LayerView):
    """
    What is computed choice by choice.
    """

    groups: tuple[Group, ...] = ()
    scale: str = "1.0"
    """What values are multiplied with, by softmax."""
    outputs: int = 0
    """Values of the result per observation."""

    @property
    def room(self) -> int:
        """
        The values of the result, padded to whole registers.
        """
        return -(-self.outputs // self.lanes) * self.lanes


@dataclass(frozen=True)
class LookupView(RaggedView):
    """
    The sum of rows of a table, one for each choice.
    """

    sizes: tuple[int, ...] = ()
    computed: bool = False
    """Whether the bias is a value of each observation."""

    def row(self, number: int, place: str) -> str:
        """
        Where the row of a choice begins in the table, if the choice stands at this place of the source.
        """
        index = f"bounded(load_scalar(source, {place}), {self.sizes[number]})"
        first = sum(self.sizes[:number])
        if self.outputs == 1:
            return plus(index, first)
        return f"({index} + {first}) * {self.outputs}" if first else f"{index} * {self.outputs}"


def groups_of(sizes: Sequence[int], lanes: int) -> tuple[Group, ...]:
    """
    The groups of choices among `sizes` values each.
    """
    groups: list[Group] = []
    first = number = 0
    for size, equal in groupby(sizes):
        count = len(list(equal))
        rest = size % lanes if len(sizes) > 1 else 0  # one choice alone has its slot, with all the padding, to itself
        whole = size - rest if len(sizes) > 1 else -(-size // lanes) * lanes
        groups.append(Group(first, number, size, count, whole, rest))
        first += size * count
        number += count
    return tuple(groups)


def _sum(variable: str, step: int, number: int) -> str:
    """
    The variable, plus `k` times the step, plus the number, without what is nothing.
    """
    terms = [variable] if variable else []
    if step:
        terms.append("k" if step == 1 else f"k * {step}")
    if number or not terms:
        terms.append(str(number))
    return " + ".join(terms)
