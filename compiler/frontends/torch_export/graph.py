"""
What a translation works on: values of the exported program, and the graph that grows from them.

A value of the program is a tensor of the model (`Computed`), a `torch.Tensor` if it is known at build time, a list of
values, or what torch.export keeps as it is: a number, a dtype, None. All sizes are those of one sample: the batch's
symbol counts as 1, and dims of size 1 stay where the program has them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch

from compiler.errors import UnsupportedError, quote
from compiler.frontends.computed import LARGEST_INTEGER, ORDER, Computed
from compiler.frontends.torch_export.sources import label, place
from compiler.ir import BATCH, Attribute, DType, Tensor
from compiler.ops import Array
from compiler.ops.builder import GraphBuilder

TORCH = {DType.FLOAT32: torch.float32, DType.INT64: torch.int64, DType.BOOL: torch.bool}
"""The dtypes of general models, as torch has them."""


Value: TypeAlias = Any
"""Computed, torch.Tensor, a list of these, or a plain Python value."""


def kind_of(value: Value) -> DType:
    """
    What a value is in a general model: float32, int64 or bool.
    """
    if isinstance(value, Computed):
        return value.dtype
    if isinstance(value, torch.Tensor):
        return DType.FLOAT32 if value.is_floating_point() else DType.BOOL if value.dtype == torch.bool else DType.INT64
    return DType.BOOL if isinstance(value, bool) else DType.INT64 if isinstance(value, int) else DType.FLOAT32


def dims_of(value: Value) -> tuple[int, ...]:
    """
    The dims of a tensor; of a number, none.
    """
    if isinstance(value, Computed):
        return value.dims
    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()


def axis_of(value: Value, dim: int) -> int:
    """
    An axis counted from the front.
    """
    return dim % max(len(dims_of(value)), 1)


def common(*values: Value) -> DType:
    """
    What values become where they meet.
    """
    return max((kind_of(value) for value in values), key=ORDER.index)


class Graph:
    """
    The model that is being made, and the node of the program that is being translated.

    Attributes:
        builder: collects the tensors and nodes of the model.
        node: the node of the program.
        named: parameters and buffers by their identity, with their name in the module.
        given: the inputs.
        origins: the node of the program that each tensor's node comes from, by the tensor.
    """

    def __init__(self, where: str, size: Callable[[Any], Any]) -> None:
        self.where = where
        self.builder = GraphBuilder()
        self.node: torch.fx.Node | None = None
        self.named: dict[int, str] = {}
        self.given: list[Computed] = []
        self.origins: dict[str, torch.fx.Node] = {}
        self._size = size
        self._placed: dict[int, tuple[torch.Tensor, str]] = {}
        self._numbers: dict[tuple[str, DType, int], torch.Tensor] = {}

    @property
    def label(self) -> str:
        """
        Where the node comes from, in the words of the module; before all nodes, a name that no input has.
        """
        return label(self.node) if self.node is not None else "input:cast"

    def refuse(self, finding: str) -> NoReturn:
        """
        Raises UnsupportedError for the node, with the line of the module's source that it comes from.
        """
        assert self.node is not None
        raise UnsupportedError(self.where, f"{place(self.node)}: {finding}")

    def result(self, index: int | None = None) -> torch.Tensor:
        """
        What torch.export recorded of the node's result, or of one of its results.
        """
        assert self.node is not None
        found = self.node.meta["val"]
        result: torch.Tensor = found if index is None else found[index]
        return result

    def result_dims(self, index: int | None = None) -> tuple[int, ...]:
        """
        The dims of the node's result.
        """
        return tuple(int(self._size(size)) for size in self.result(index).shape)

    def result_kind(self) -> DType:
        """
        What the node's result is.
        """
        return kind_of(self.result())

    def add(self, op: str, inputs: Sequence[Value], **attributes: Attribute) -> Computed:
        """
        Adds a node with one result.
        """
        (result,) = self.add_all(op, inputs, **attributes)
        return result

    def add_all(self, op: str, inputs: Sequence[Value], **attributes: Attribute) -> list[Computed]:
        """
        Adds a node with several results; constants among the inputs become constants of the model.
        """
        names = [value.name if isinstance(value, Computed) else self.place(value) for value in inputs]
        try:
            results = self.builder.add_all(op, names, self.label, **attributes)
        except UnsupportedError as error:
            self.refuse("; ".join(f"{error.where}: {finding}" for finding in error.findings))
        if self.node is not None:
            self.origins |= dict.fromkeys(results, self.node)
        return [self._computed(self.builder.tensors[name]) for name in results]

    def input(self, name: str, dtype: DType, shape: tuple[int, ...]) -> Computed:
        """
        Declares a tensor that the caller gives; bytes are int64 from here on.
        """
        given = self._computed(self.builder.tensors[self.builder.input(name, dtype, (BATCH, *shape))])
        self.given.append(self.cast(given, DType.INT64) if dtype is DType.UINT8 else given)
        return self.given[-1]

    def place(self, value: torch.Tensor) -> str:
        """
        The name of the constant that holds a known tensor; the same tensor twice is one constant.
        """
        known = self._placed.get(id(value))
        if known is None:
            name = self._unused(self.named.get(id(value), f"{self.label}.constant"))
            known = (value, self.builder.constant(name, self.array(value)))
            self._placed[id(value)] = known
        return known[1]

    def array(self, value: torch.Tensor) -> Array:
        """
        A known tensor as the model stores it: float32, int64 or bool.
        """
        data = np.ascontiguousarray(value.detach().cpu().to(TORCH[kind_of(value)]).numpy()).reshape(value.shape)
        if data.dtype == np.int64 and data.size and max(-int(data.min()), int(data.max())) > LARGEST_INTEGER:
            self.refuse(f"holds an integer beyond {LARGEST_INTEGER:,}, which predictors can't keep exactly")
        return data

    def number(self, value: float, kind: DType, rank: int) -> torch.Tensor:
        """
        A number as a constant that broadcasts against dims of this rank.
        """
        key = (repr(value), kind, min(rank, 1))
        if key not in self._numbers:
            number = torch.tensor(value, dtype=TORCH[kind]).reshape((1,) * min(rank, 1))
            self._numbers[key] = number
            self.named[id(number)] = f"number {value!r}"
        return self._numbers[key]

    def known(self, value: Value, what: str) -> torch.Tensor:
        """
        A value that must be known at build time, such as a weight.
        """
        if not isinstance(value, torch.Tensor):
            self.refuse(f"{what} is computed by the model; only a parameter or a constant is compiled there")
        return value

    def cast(self, value: Value, kind: DType) -> Value:
        """
        A tensor as another kind; numbers stay numbers.
        """
        if isinstance(value, Computed):
            return value if value.dtype is kind else self.add("cast", [value], dtype=str(kind))
        if isinstance(value, torch.Tensor):
            return value if kind_of(value) is kind else value.to(TORCH[kind])
        return value

    def reshape(self, value: Value, dims: Sequence[int]) -> Value:
        """
        The same elements with other dims.
        """
        if dims_of(value) == tuple(dims):
            return value
        if isinstance(value, torch.Tensor):
            return value.reshape(tuple(dims))
        if math.prod(dims) != math.prod(value.dims):
            self.refuse(f"can't make dims {tuple(dims)} of {value.dims}: it moves elements between samples")
        return self.add("reshape", [value], shape=tuple(dims))

    def broadcast(self, op: str, *values: Value, **attributes: Attribute) -> Computed:
        """
        An element-wise op of several inputs: all computed ones brought to the rank of the result.
        """
        rank = max(len(dims_of(value)) for value in values)
        kind = common(*values)
        aligned = []
        for value in values:
            if isinstance(value, Computed):
                aligned.append(self.reshape(value, (1,) * (rank - len(value.dims)) + value.dims))
            elif isinstance(value, torch.Tensor):
                aligned.append(value.reshape(1) if rank and not value.ndim else value)
            else:
                aligned.append(self.number(value, kind, rank))
        return self.add(op, aligned, **attributes)

    def computed(self, value: torch.Tensor) -> Computed:
        """
        A known tensor as one that is given for each sample: beside an element of an input, which is cut off again.
        """
        if not self.given:
            self.refuse("depends on no input")
        flat = value.reshape(-1)
        element = self.reshape(self.given[0], (math.prod(self.given[0].dims),))
        element = self.cast(self.add("slice", [element], axis=0, start=0, stop=1, step=1), kind_of(value))
        both = self.add("join", [flat, element], axis=0)
        found = self.add("slice", [both], axis=0, start=0, stop=flat.numel(), step=1)
        result: Computed = self.reshape(found, tuple(value.shape))
        return result

    def floating(self, value: Value) -> Value:
        """
        The value as float32: what most functions make of integers.
        """
        return self.cast(value, DType.FLOAT32)

    def _computed(self, tensor: Tensor) -> Computed:
        return Computed(tensor.name, tensor.dtype, tensor.fixed_shape)

    def _unused(self, name: str) -> str:
        candidate, number = name, 2
        while candidate in self.builder.tensors:
            candidate, number = f"{name}:{number}", number + 1
        return candidate


def known_all(values: Sequence[Value]) -> bool:
    """
    Whether none of these is computed.
    """
    return not any(isinstance(value, Computed) for value in values)


def quoted(value: object) -> str:
    """
    A value of the program for a message.
    """
    return quote(str(value))
