"""
What leaves a predictor: where each result stands in the workspace, and how it gets to the caller.
"""

import math
from dataclasses import dataclass

from compiler.codegen.calls import place
from compiler.codegen.interface import Interface
from compiler.codegen.memory import WORDS, MemoryPlan
from compiler.codegen.naming import comment, literal
from compiler.errors import BuildError
from compiler.ir import Box, Discrete, DType, Model, MultiBinary, MultiDiscrete, Node, Output, Space
from compiler.modelfile import EncodedModel

MOST_SIZES = 16
"""Choices of which the number of values of each is named."""

STORES = {DType.FLOAT32: "store_scalar", DType.FLOAT64: "store_double", DType.INT64: "store_integer"}


@dataclass(frozen=True)
class ResultView:
    """
    A result of the kernels: where it stands in the workspace and how it leaves it.
    """

    name: str
    """For a docstring."""
    array: str
    """The caller's array that takes it."""
    dtype: str
    count: int
    """Values per observation."""
    one: str
    """The pointer to it, for one observation."""
    block: str
    """The pointer to it, for a block."""
    load: str
    """The word that reads a value of it."""
    store: str
    """The word that writes a value to the caller."""
    layer: int = 0
    """Of a state."""

    def index(self, row: str, i: str) -> str:
        """
        Where value `i` of observation `row` stands in the caller's array.
        """
        if self.layer:
            row = f"({'' if self.layer == 1 else f'{self.layer} * '}rows + {row})"
        plain = row if " " not in row or row.startswith("(") else f"({row})"
        return f"{row.strip('()')} + {i}" if self.count == 1 else f"{plain} * {self.count} + {i}"


@dataclass(frozen=True)
class ValueView:
    """
    A value that `layers` shows: its name as a literal, its place in the workspace.
    """

    name: str
    offset: int
    count: int
    dtype: str


@dataclass(frozen=True)
class ExtraView:
    """
    What the value or the distribution is made of, besides the scores.
    """

    name: str
    """The output's own name, as a literal."""
    count: int
    one: str
    """The pointer to it, for one observation; of a constant, its place among the weights, in float32."""
    constant: str
    """The shape of a constant, as source; empty for what is computed."""

    @property
    def bytes(self) -> str:
        """
        The slice of a constant among the bytes of the weights.
        """
        first = 4 * int(self.one)
        return f"{first}:{first + 4 * self.count}"


def result_view(model: Model, plan: MemoryPlan, output: Output, array: str) -> ResultView:
    """
    The view of an output that goes into one of the caller's arrays.
    """
    return _tensor_result(model, plan, output.tensor, comment(output.name), array, 0)


def state_views(model: Model, plan: MemoryPlan, interface: Interface) -> list[ResultView]:
    """
    The next states: h and c of each LSTM layer, in turns.
    """
    return [
        _tensor_result(model, plan, state.output, comment(state.name), array, layer)
        for layer, states in enumerate(zip(interface.hidden, interface.cell, strict=True))
        for array, state in zip(("next_hidden", "next_cell"), states, strict=True)
    ]


def _tensor_result(model: Model, plan: MemoryPlan, name: str, title: str, array: str, layer: int) -> ResultView:
    tensor = model.tensors[name]
    return ResultView(
        name=title,
        array=array,
        dtype=str(tensor.dtype),
        count=tensor.elements,
        one=place("work", plan.slots[name].offset),
        block=place("work", plan.block_slots[name].offset, "LANES"),
        load="load_double" if tensor.dtype is DType.FLOAT64 else "load_scalar",
        store=STORES[tensor.dtype],
        layer=layer,
    )


def value_view(model: Model, plan: MemoryPlan, node: Node) -> ValueView:
    """
    What `layers` shows of a node.
    """
    tensor = model.tensors[node.outputs[0]]
    dtype = "float64" if WORDS[tensor.dtype] == 2 else "float32"
    return ValueView(literal(tensor.name), plan.slots[tensor.name].offset, tensor.elements, dtype)


def extra_views(model: Model, plan: MemoryPlan, encoded: EncodedModel, interface: Interface) -> list[ExtraView]:
    """
    What the distribution and the value are made of.
    """
    outputs = [*interface.distribution, *([interface.value] if interface.value else [])]
    views = []
    for output in outputs:
        tensor = model.tensors[output.tensor]
        if tensor.data is None:
            where = place("work", plan.slots[tensor.name].offset)
            views.append(ExtraView(literal(output.name), tensor.elements, where, ""))
        else:
            where = str(encoded.offsets[tensor.name] // 4)
            views.append(ExtraView(literal(output.name), tensor.elements, where, str(tensor.fixed_shape)))
    return views


def action_text(space: Space) -> str:
    """
    What an action of a space is, in values side by side.
    """
    match space:
        case Discrete(n=n):
            return f"the choice, 0 to {n - 1}"
        case MultiDiscrete(nvec=nvec):
            return choices_text(nvec)
        case MultiBinary(shape=shape):
            return f"{counted(math.prod(shape), 'value')}, each 0 or 1"
        case Box(shape=shape):
            least, most = float(space.low.min()), float(space.high.max())
            bounds = "" if len({*space.low.flat}) + len({*space.high.flat}) == 2 else "each within its bounds, "
            return f"{counted(math.prod(shape), 'value')}, {bounds}{least:g} to {most:g}"
        case other:
            raise BuildError("codegen", f"no space {type(other).__name__}")


def choices_text(sizes: tuple[int, ...]) -> str:
    """
    What choices with these numbers of values are.
    """
    if len(set(sizes)) == 1:
        return f"{counted(len(sizes), 'choice')}, {'each ' if len(sizes) > 1 else ''}0 to {sizes[0] - 1}"
    if len(sizes) > MOST_SIZES:
        return f"{len(sizes)} choices, each from 0 and below the number of its values"
    return f"{len(sizes)} choices: {', '.join(f'0 to {size - 1}' for size in sizes)}"


def counted(count: int, what: str) -> str:
    """
    A number of things.
    """
    return f"{count} {what}{'s' if count != 1 else ''}"
