"""
How the caller's arrays become the values that kernels read.
"""

import math
from dataclasses import dataclass

from compiler.codegen.interface import Interface, shape_of, sizes_of
from compiler.codegen.memory import ARRANGING, MemoryPlan, Slot
from compiler.codegen.naming import kernel_names, literal
from compiler.codegen.source import call
from compiler.ir import (
    ACTION_MASKS,
    EPISODE_STARTS,
    OBSERVATION,
    Box,
    Discrete,
    DType,
    Model,
    MultiBinary,
    MultiDiscrete,
    Policy,
    Space,
)
from compiler.ops.dense import COLUMNS

HIDDEN, CELL = "hidden", "cell"

COUNTERS = {"float32": "floats", "float64": "doubles", "int64": "integers", "uint8": "octets", "bool": "flags"}
"""The word that counts the values of a caller's array; -1 if it is no row of this dtype."""
KINDS = {"float32": "", "float64": "_doubles", "int64": "_integers", "uint8": "_bytes", "bool": "_bytes"}
"""How the kernels end that bring values of this dtype into the workspace."""
WORDS = {"float32": 1, "float64": 2, "int64": 2}
"""float32 that a value takes; values of other dtypes take a byte."""


@dataclass(frozen=True)
class ArrayView:
    """
    An array of the caller's: rows of one dtype, one for each observation, and that for each layer of a state.
    """

    name: str
    """The variable."""
    dtype: str
    count: int
    """Values in a row."""
    layers: int = 1

    @property
    def numpy(self) -> str:
        """
        What NumPy calls its dtype.
        """
        return "bool_" if self.dtype == "bool" else self.dtype

    @property
    def counter(self) -> str:
        """
        The word that counts its values.
        """
        return COUNTERS[self.dtype]

    @property
    def total(self) -> int:
        """
        The values of one observation, in all layers.
        """
        return self.count * self.layers


@dataclass(frozen=True)
class PartView:
    """
    A part of the observation, as the caller knows it.
    """

    array: ArrayView
    label: str
    """What messages call it, as a literal."""
    key: str
    """Its key in a Dict observation, as a literal; empty if the observation is no Dict."""
    kind: str
    """The space: Box, Discrete, MultiDiscrete, MultiBinary."""
    shape: str
    """Of one element, as source."""
    image: bool
    """Whether images may also come as (height, width, channels)."""
    sizes: tuple[int, ...]
    """How many values each of its choices has, if they are choices."""
    text: str
    """What it is, for docstrings."""

    @property
    def flat(self) -> bool:
        """
        Whether an array of it can be passed on as it is, if it is of the right dtype.
        """
        return self.kind != "Discrete" and self.shape.count(",") == 1 and self.shape.endswith(",)")

    @property
    def given(self) -> str:
        """
        The expression of what the caller gave.
        """
        return f"observation[{self.key}]" if self.key else "observation"

    @property
    def conversion(self) -> str:
        """
        The call that makes rows of what the caller gave, and tells whether it is only one.
        """
        if self.sizes:
            return call("inputs.choices", [self.given, self.shape, self.label], 8)
        dtype = self.array.dtype.upper()
        image = ["image=True"] if self.image else []
        return call("inputs.box", [self.given, self.shape, dtype, self.label, *image], 8)


@dataclass(frozen=True)
class InputView:
    """
    A tensor that kernels read and do not compute: where its values begin, and how they get into the workspace.
    """

    name: str
    """The variable that points to it."""
    array: ArrayView
    layer: int
    slot: Slot | None
    """Its place in the workspace; None if kernels for one observation read the caller's array itself."""
    block_slot: Slot | None
    """Its place in the workspace of a block; None if no kernel for blocks reads it."""
    checked: bool
    """Whether it may hold NaN."""
    sizes: tuple[int, ...]
    images: bool
    """Whether the kernels that work on images read it."""

    @property
    def count(self) -> int:
        """
        Its values.
        """
        return self.array.count

    @property
    def kind(self) -> str:
        """
        How the kernels end that bring it into the workspace.
        """
        return KINDS[self.array.dtype]

    def at(self, row: str, rows: str) -> str:
        """
        The pointer to observation `row` of `rows`.
        """
        place = row
        if self.layer:
            place = f"({rows if self.layer == 1 else f'{self.layer} * {rows}'} + {row})"
        words = WORDS.get(self.array.dtype)
        if words is None:
            return f"skip({self.array.name}, {_product(place, self.count)})"
        return f"advance({self.array.name}, {_product(place, self.count * words)})"


def _product(place: str, factor: int) -> str:
    return place.strip("()") if factor == 1 else f"{place} * {factor}"


def part_views(interface: Interface, model: Model) -> list[PartView]:
    """
    The parts of the observation, in order.
    """
    policy = interface.policy
    return [
        _part_view(variable, name, space, model.tensors[name].dtype)
        for variable, (name, space) in zip(variables(policy), policy.parts, strict=True)
    ]


def variables(policy: Policy) -> list[str]:
    """
    A variable for each part of the observation: `observation`, or `observation_` and what its key can be made into.
    """
    return kernel_names([name for name, _ in policy.parts])


def _part_view(variable: str, name: str, space: Space, dtype: DType) -> PartView:
    shape, sizes = shape_of(space), sizes_of(space)
    image = isinstance(space, Box) and space.is_image
    row = "int64" if sizes else "float64" if dtype is DType.FLOAT64 else "uint8" if image else "float32"
    key = name.removeprefix(f"{OBSERVATION}.") if name != OBSERVATION else None
    return PartView(
        array=ArrayView(variable, row, math.prod(shape)),
        label=literal(name),
        key="" if key is None else literal(key),
        kind=type(space).__name__,
        shape=str(shape),
        image=image,
        sizes=sizes,
        text=_described(space),
    )


def _described(space: Space) -> str:
    """
    What may be given for a part of the observation.
    """
    match space:
        case Discrete(n=n):
            return f"a choice from 0 to {n - 1}"
        case MultiDiscrete():
            return f"choices, of shape {shape_of(space)}"
        case MultiBinary():
            return f"bits, of shape {shape_of(space)}"
        case Box() as box if box.is_image:
            return f"pixels from 0 to 255 of shape {shape_of(space)}, or (height, width, channels)"
        case _:
            return f"array-like of shape {shape_of(space)}, any real dtype"


def input_names(interface: Interface) -> set[str]:
    """
    The variables that point to inputs and states where kernels are called.
    """
    states = {f"{name}_{layer}" for name in (HIDDEN, CELL) for layer in range(len(interface.hidden))}
    return {*variables(interface.policy), *states, ACTION_MASKS, EPISODE_STARTS, HIDDEN, CELL}


def array_views(interface: Interface, model: Model, parts: list[PartView]) -> list[ArrayView]:
    """
    The caller's arrays, in the order in which entry points take them.
    """
    views = [part.array for part in parts]
    if interface.masked:
        views.append(ArrayView(ACTION_MASKS, "bool", model.tensors[ACTION_MASKS].elements))
    if interface.recurrent:
        views.append(ArrayView(EPISODE_STARTS, "float32", 1))
        units = model.tensors[interface.hidden[0].input].elements
        views += [ArrayView(name, "float32", units, len(interface.hidden)) for name in (HIDDEN, CELL)]
    return views


def input_views(
    interface: Interface, model: Model, plan: MemoryPlan, parts: list[PartView], arrays: list[ArrayView]
) -> list[InputView]:
    """
    The model's inputs, then its states, layer by layer.
    """
    found = {array.name: array for array in arrays}
    views = []
    for name, part in zip([name for name, _ in interface.policy.parts], parts, strict=True):
        views.append(_input_view(model, plan, name, part.array.name, part.array, 0, part.sizes))
    for name in model.inputs[len(parts) :]:
        views.append(_input_view(model, plan, name, name, found[name], 0, ()))
    for layer, states in enumerate(zip(interface.hidden, interface.cell, strict=True)):
        for array, state in zip((HIDDEN, CELL), states, strict=True):
            views.append(_input_view(model, plan, state.input, f"{array}_{layer}", found[array], layer, ()))
    return views


def _input_view(
    model: Model,
    plan: MemoryPlan,
    tensor: str,
    variable: str,
    array: ArrayView,
    layer: int,
    sizes: tuple[int, ...],
) -> InputView:
    aliases = aliases_of(model, tensor)
    readers = [node for node in model.nodes if aliases.intersection(node.inputs) and node.op not in ARRANGING]
    return InputView(
        name=variable,
        array=array,
        layer=layer,
        slot=None if array.dtype == "float32" and _read_in_place(model, tensor) else plan.slots[tensor],
        block_slot=plan.block_slots.get(tensor),
        checked=array.dtype in ("float32", "float64"),
        sizes=sizes,
        images=any(not plan.images.isdisjoint(node.outputs) for node in readers),
    )


def aliases_of(model: Model, tensor: str) -> set[str]:
    """
    An input and all that is the same values in another shape.
    """
    names = {tensor}
    for node in model.nodes:
        if node.op in ARRANGING and node.inputs[0] in names:
            names.add(node.outputs[0])
    return names


def _read_in_place(model: Model, tensor: str) -> bool:
    """
    Whether all kernels that read an input read just its values, and no register of padding after them.
    """
    observed = aliases_of(model, tensor)
    readers = [node for node in model.nodes if observed.intersection(node.inputs) and node.op not in ARRANGING]
    copied = any(model.is_result(name) for name in observed)
    return not copied and all(node.op == "dense" and node.attributes["layout"] == COLUMNS for node in readers)
