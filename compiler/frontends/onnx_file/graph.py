"""
What a translation works on: values of the ONNX graph, and the model that grows from them.

A value is a tensor of the model (`Computed`), a NumPy array if it is known at build time, or None where an optional
input is left out. All sizes are those of one sample: a batch counts as 1, and dims of size 1 stay where the graph has
them. What is known stays known: a row whose inputs are all known is computed by its reference.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np

from compiler.errors import UnsupportedError, quote
from compiler.frontends.computed import LARGEST_INTEGER, ORDER, Computed
from compiler.ir import BATCH, Attribute, DType, Tensor
from compiler.ops import OPS, Array
from compiler.ops.builder import GraphBuilder

LARGEST_FOLDED = 1 << 27
"""Elements of a tensor that is computed at build time: a file of some bytes should not fill the memory."""
LONGEST_LABEL = 200


Value: TypeAlias = Any
"""Computed, a NumPy array, or None."""
Given: TypeAlias = list[Value]
"""The inputs of a node."""
Has: TypeAlias = Mapping[str, Any]
"""The attributes of a node that are given."""


@dataclass(frozen=True)
class Place:
    """
    A node of the file, as messages name it.
    """

    op: str
    name: str
    results: tuple[str, ...]
    used: tuple[bool, ...]
    """Of each result, whether anything reads it."""

    def __str__(self) -> str:
        named = quote(self.name) if self.name else f"that gives {quote(next(iter(self.results), ''))}"
        return f"node {named} ({quote(self.op)[1:-1]})"


def kind_of(value: Value) -> DType:
    """
    What a value is in a general model: float32, int64 or bool.
    """
    if isinstance(value, Computed):
        return value.dtype
    kind = np.asarray(value).dtype.kind
    return DType.FLOAT32 if kind == "f" else DType.BOOL if kind == "b" else DType.INT64


def dims_of(value: Value) -> tuple[int, ...]:
    """
    The dims of a tensor; of a number, none.
    """
    return value.dims if isinstance(value, Computed) else tuple(np.shape(value))


def at(given: Given, index: int) -> Value:
    """
    An input of a node; None where it is left out.
    """
    return given[index] if index < len(given) else None


class Graph:
    """
    The model that is being made, and the node that is being translated.

    Attributes:
        builder: collects the tensors and nodes of the model.
        place: the node of the file.
        version: the opset of the file.
        origins: the node of the file that each tensor's node comes from, by the tensor.
    """

    def __init__(self, where: str, version: int) -> None:
        self.where, self.version = where, version
        self.builder = GraphBuilder()
        self.place: Place | None = None
        self.origins: dict[str, str] = {}
        self._named: dict[int, tuple[Array, str]] = {}
        self._placed: dict[int, tuple[Array, str]] = {}
        self._numbers: dict[tuple[str, DType, int], Array] = {}

    @property
    def label(self) -> str:
        """
        What the tensors of the node are called.
        """
        if self.place is None:
            return "input"
        return (next(filter(None, self.place.results), "") or self.place.name or self.place.op)[:LONGEST_LABEL]

    def refuse(self, finding: str) -> NoReturn:
        """
        Raises UnsupportedError for the node.
        """
        raise UnsupportedError(self.where, f"{self.place}: {finding}" if self.place else finding)

    def add(self, op: str, inputs: Sequence[Value], **attributes: Attribute) -> Value:
        """
        A row with one result.
        """
        return self.add_all(op, inputs, **attributes)[0]

    def add_all(self, op: str, inputs: Sequence[Value], **attributes: Attribute) -> list[Value]:
        """
        A row with all its results; constants among the inputs become constants of the model.
        """
        try:
            if not any(isinstance(value, Computed) for value in inputs):
                return self._folded(op, inputs, attributes)
            names = [value.name if isinstance(value, Computed) else self.placed(value) for value in inputs]
            results = self.builder.add_all(op, names, self.label, **attributes)
        except UnsupportedError as error:
            if error.where == self.where:
                raise
            self.refuse("; ".join(f"{error.where}: {finding}" for finding in error.findings))
        self.origins |= dict.fromkeys(results, str(self.place) if self.place else self.label)
        return [self._computed(self.builder.tensors[name]) for name in results]

    def _folded(self, op: str, inputs: Sequence[Value], attributes: Mapping[str, Attribute]) -> list[Value]:
        """
        The results of a row whose inputs are all known: its first is taken for a batch of one sample.
        """
        row = OPS[op]
        complete = row.complete(attributes)
        first, *others = map(_plain, inputs)
        tensors = [Tensor("constant", kind_of(first), (BATCH, *first.shape))]
        tensors += [Tensor.constant("constant", array) for array in others]
        kinds = row.infer(tensors, complete)
        for kind in kinds:
            sizes = [size for size in kind.shape if isinstance(size, int)]
            self.need_small(sizes)
        wide = [array.astype(np.float64) if array.dtype.kind == "f" else array for array in (first[None], *others)]
        with np.errstate(all="ignore"):
            results = row.evaluate(wide, complete)
        return [np.asarray(found[0], kind.dtype.numpy) for found, kind in zip(results, kinds, strict=True)]

    def need_small(self, dims: Sequence[int]) -> None:
        """
        Refuses dims of something that would be made at build time and is huge.
        """
        if math.prod(dims) > LARGEST_FOLDED:
            self.refuse(f"makes a constant of {tuple(dims)}; at most {LARGEST_FOLDED:,} elements are computed at once")

    def input(self, name: str, dtype: DType, dims: tuple[int, ...]) -> Computed:
        """
        Declares a tensor that the caller gives; bytes are int64 from here on.
        """
        given = self._computed(self.builder.tensors[self.builder.input(name, dtype, (BATCH, *dims))])
        return self.cast(given, DType.INT64) if dtype is DType.UINT8 else given

    def placed(self, value: Array) -> str:
        """
        The name of the constant that holds a known tensor; the same tensor twice is one constant.
        """
        known = self._placed.get(id(value))
        if known is None:
            name = self._unused(self._named.get(id(value), (value, f"{self.label}.constant"))[1])
            known = (value, self.builder.constant(name, self.stored(value)))
            self._placed[id(value)] = known
        return known[1]

    def stored(self, value: Array) -> Array:
        """
        A known tensor as the model stores it: float32, int64 or bool.
        """
        data = _plain(value)
        if data.dtype == np.int64 and data.size and max(-int(data.min()), int(data.max())) > LARGEST_INTEGER:
            self.refuse(f"uses an integer beyond {LARGEST_INTEGER:,}, which predictors can't keep exactly")
        return data

    def number(self, value: float, kind: DType, rank: int) -> Array:
        """
        A number as a constant that broadcasts against dims of this rank.
        """
        key = (repr(value), kind, min(rank, 1))
        if key not in self._numbers:
            number = np.asarray(value, kind.numpy).reshape((1,) * min(rank, 1))
            self._numbers[key] = number
            self.call(number, f"number {value!r}")
        return self._numbers[key]

    def known(self, value: Value, what: str) -> Array:
        """
        A value that must be known at build time, such as a weight.
        """
        if not isinstance(value, np.ndarray):
            found = "missing" if value is None else "computed"
            self.refuse(f"{what} must be a constant of the file; it is {found}")
        return value

    def integers(self, value: Value, what: str) -> tuple[int, ...]:
        """
        A known tensor of integers, such as axes or a shape, as numbers.
        """
        return tuple(map(int, self.known(value, what).reshape(-1)))

    def axis(self, axis: int, rank: int) -> int:
        """
        An axis counted from the front.
        """
        if not -rank <= axis < rank:
            self.refuse(f"axis {axis} is not one of {rank}")
        return axis % rank

    def axes(self, axes: Sequence[int], rank: int) -> tuple[int, ...]:
        """
        Axes counted from the front, in order.
        """
        return tuple(sorted({self.axis(axis, rank) for axis in axes}))

    def cast(self, value: Value, kind: DType) -> Value:
        """
        A tensor as another kind.
        """
        if kind_of(value) is kind:
            return value
        if isinstance(value, Computed):
            return self.add("cast", [value], dtype=str(kind))
        with np.errstate(all="ignore"):
            return np.asarray(value).astype(kind.numpy)

    def broadcast(self, op: str, *values: Value, **attributes: Attribute) -> Value:
        """
        An element-wise row of several inputs, tensors or numbers: all computed ones brought to the rank of the result.
        """
        tensors = [value for value in values if not isinstance(value, bool | int | float)]
        rank = max(len(dims_of(value)) for value in tensors)
        kind = max(map(kind_of, tensors), key=ORDER.index)
        lone = not any(isinstance(value, Computed) for value in tensors)
        aligned = []
        for value in values:
            if isinstance(value, bool | int | float):
                aligned.append(self.number(value, kind, rank))
            elif isinstance(value, Computed) or lone:
                aligned.append(self.reshape(value, (1,) * (rank - len(dims_of(value))) + dims_of(value)))
            else:
                aligned.append(value.reshape(1) if rank and not value.ndim else value)
        return self.add(op, aligned, **attributes)

    def reshape(self, value: Value, dims: Sequence[int]) -> Value:
        """
        The same elements with other dims.
        """
        if dims_of(value) == tuple(dims):
            return value
        if math.prod(dims) != math.prod(dims_of(value)):
            self.refuse(
                f"can't make dims {tuple(dims)} of {dims_of(value)}; where a batch is written into the file as a "
                "number, export it with a dynamic batch"
            )
        if isinstance(value, Computed):
            return self.add("reshape", [value], shape=tuple(dims))
        return self.renamed(value.reshape(tuple(dims)), value)

    def call(self, value: Array, name: str) -> Array:
        """
        The array itself, which has a name from now on.
        """
        self._named[id(value)] = (value, name)
        return value

    def renamed(self, value: Array, source: Value) -> Array:
        """
        The array itself, which is called what the array is called that it was made of.
        """
        return self.call(value, self._named[id(source)][1]) if id(source) in self._named else value

    def _computed(self, tensor: Tensor) -> Computed:
        return Computed(tensor.name, tensor.dtype, tensor.fixed_shape)

    def _unused(self, name: str) -> str:
        candidate, number = name, 2
        while candidate in self.builder.tensors:
            candidate, number = f"{name}:{number}", number + 1
        return candidate


def _plain(value: Array) -> Array:
    """
    An array as one of the dtypes of general models.
    """
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(value, kind_of(value).numpy).reshape(np.shape(value))
