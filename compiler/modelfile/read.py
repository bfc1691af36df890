"""
Message to model, for messages that anyone may have written.
"""

import math
from collections.abc import Iterator
from typing import Any

import capnp
import numpy as np
from numpy.typing import NDArray

from compiler.errors import quote
from compiler.ir import (
    ROLES,
    SAMPLINGS,
    Attribute,
    Box,
    Dict,
    Dimension,
    Discrete,
    DType,
    Length,
    Model,
    MultiBinary,
    MultiDiscrete,
    Node,
    Origin,
    Output,
    Policy,
    Sampling,
    Space,
    State,
    Tensor,
)
from compiler.modelfile.bounds import ALIGNMENT, Bounded
from compiler.modelfile.frame import Bytes

DTYPES = tuple(DType)


class Reader(Bounded):
    """
    Reads one model.

    Lists are counted before they are walked, the traversal limit of the message bounds what pointers to the same place
    can multiply, and an array is made of the blob only after its shape and place have been compared with it.

    Args:
        where: the file, for messages.
        blob: its arrays.
    """

    def __init__(self, where: str, blob: Bytes) -> None:
        super().__init__(where)
        self._blob = blob
        self._spans: list[tuple[int, int]] = []
        self._names: list[str] = []

    def model(self, root: Any) -> Model:
        """
        The model, not yet checked.
        """
        name, origin = root.name, self._origin(root.origin)
        tensors = [self._tensor(entry) for entry in self._walk(root.tensors)]
        self._names = [tensor.name for tensor in tensors]
        self.check_different(self._names, "tensors")
        return Model(
            name=name,
            tensors=dict(zip(self._names, tensors, strict=True)),
            inputs=self._references(root.inputs),
            nodes=tuple(self._node(entry) for entry in self._walk(root.nodes)),
            outputs=tuple(self._output(entry) for entry in self._walk(root.outputs)),
            states=tuple(self._state(entry) for entry in self._walk(root.states)),
            policy=self._policy(root.policy) if root._has("policy") else None,
            origin=origin,
            batched=not root.unbatched,
        )

    def check_coverage(self) -> None:
        """
        Refuses arrays that overlap, and bytes of the blob between them that are not 0.
        """
        covered = 0
        for start, stop in [*sorted(self._spans), (self._blob.size, self._blob.size)]:
            if start < covered:
                self.refuse("two arrays overlap in the blob")
            if self._blob[covered:start].any():
                self.refuse(f"bytes {covered} to {start} of the blob belong to no array and are not 0")
            covered = stop

    def _walk(self, entries: Any) -> Iterator[Any]:
        return (entries[index] for index in range(self.count(len(entries))))

    def _references(self, entries: Any) -> tuple[str, ...]:
        return tuple(map(self._reference, self._walk(entries)))

    def _reference(self, index: int) -> str:
        if index >= len(self._names):
            self.refuse(f"tensor {index} is used, but there are only {len(self._names)}")
        return self._names[index]

    def _enumerant(self, value: Any, known: tuple[str, ...], what: str) -> str:
        number: int = value.raw
        if number >= len(known):
            self.refuse(f"{what} {number} is unknown")
        return known[number]

    def _kind(self, entry: Any, what: str) -> str:
        """
        Which alternative of its union a struct holds.
        """
        try:
            return str(entry._which_str())
        except capnp.KjException:
            self.refuse(f"{what} is of an unknown kind")

    def _origin(self, entry: Any) -> Origin:
        versions = tuple((item.name, item.version) for item in self._walk(entry.versions))
        assumptions = tuple(self._walk(entry.assumptions))
        return Origin(entry.file, entry.sha256, entry.format, versions, assumptions, entry.vecnormalize)

    def _tensor(self, entry: Any) -> Tensor:
        name, dtype = entry.name, DType(self._enumerant(entry.dtype, DTYPES, "dtype"))
        what = f"tensor {quote(name)}"
        shape = tuple(self._dimension(item, what) for item in self._walk(entry.shape))
        self.check_shape(shape, what)
        if self._kind(entry, what) == "computed":
            return Tensor(name, dtype, shape)
        sizes = tuple(size for size in shape if isinstance(size, int))
        if len(sizes) != len(shape):
            self.refuse(f"{what} is a constant with the shape {quote(shape)}")
        array = self._array(dtype, sizes, entry.constant.offset, what)
        if entry.constant.size != array.nbytes:
            self.refuse(f"{what} has {array.nbytes} bytes, declared are {entry.constant.size}")
        return Tensor(name, dtype, shape, array)

    def _dimension(self, entry: Any, what: str) -> Dimension:
        match self._kind(entry, f"a dimension of {what}"):
            case "size":
                size: Dimension = entry.size
            case "symbol":
                size = entry.symbol
            case _:
                size = self._length(entry.length, what)
        return size

    def _length(self, entry: Any, what: str) -> Length:
        size = Length(entry.name, entry.least, entry.most, entry.shift)
        if not 0 <= int(size) < 1 << 63 or size.most >= 1 << 63:
            self.refuse(f"{what} follows a length up to {quote(size.most)}, which no array has")
        return size

    def _array(self, dtype: DType, shape: tuple[int, ...], offset: int, what: str) -> NDArray[np.generic]:
        """
        A view into the blob.
        """
        self.check_shape(shape, what)
        stop = offset + math.prod(shape) * dtype.numpy.itemsize
        if offset % ALIGNMENT:
            self.refuse(f"{what} starts at byte {offset} of the blob, which is not a multiple of {ALIGNMENT}")
        if stop > self._blob.size:
            self.refuse(f"{what} takes bytes {offset} to {stop} of a blob of {self._blob.size}")
        self._spans.append((offset, stop))
        raw = self._blob[offset:stop]
        if dtype is DType.BOOL and raw.max() > 1:
            self.refuse(f"{what} is bool and holds bytes other than 0 and 1")
        little = raw.view(dtype.numpy.newbyteorder("<")).reshape(shape)
        return little.astype(dtype.numpy, copy=False)

    def _node(self, entry: Any) -> Node:
        inputs, outputs = self._references(entry.inputs), self._references(entry.outputs)
        name, pairs = entry.name, [(item.name, self._attribute(item)) for item in self._walk(entry.attributes)]
        self.check_different([key for key, _ in pairs], f"attributes of node {quote(name)}")
        return Node(entry.op, name, inputs, outputs, dict(pairs))

    def _attribute(self, entry: Any) -> Attribute:
        kind = self._kind(entry, "an attribute")
        value = getattr(entry, kind)
        if kind == "length":
            return self._length(value, "an attribute")
        if kind == "sizes":
            return self._sizes(value)
        result: Attribute = tuple(self._walk(value)) if kind in ("ints", "floats", "texts") else value
        return result

    def _sizes(self, entries: Any) -> tuple[int, ...]:
        sizes = [self._dimension(item, "an attribute") for item in self._walk(entries)]
        plain = tuple(size for size in sizes if isinstance(size, int))
        if len(plain) != len(sizes):
            self.refuse("an attribute has a symbol among its sizes")
        return plain

    def _output(self, entry: Any) -> Output:
        return Output(entry.name, self._reference(entry.tensor), self._enumerant(entry.role, ROLES, "role"))

    def _state(self, entry: Any) -> State:
        return State(entry.name, *map(self._reference, (entry.input, entry.output, entry.initial)))

    def _policy(self, entry: Any) -> Policy:
        spaces = self._space(entry.observationSpace), self._space(entry.actionSpace)
        return Policy(entry.kind, *spaces, self._sampling(entry.sampling) if entry._has("sampling") else None)

    def _sampling(self, entry: Any) -> Sampling:
        return Sampling(self._enumerant(entry.kind, SAMPLINGS, "sampling"), entry.squash, entry.epsilon)

    def _space(self, entry: Any, depth: int = 0) -> Space:
        match self._kind(entry, "a space"):
            case "box":
                return self._box(entry.box)
            case "discrete":
                return Discrete(entry.discrete.n, entry.discrete.start)
            case "multiDiscrete":
                many = entry.multiDiscrete
                return MultiDiscrete(tuple(self._walk(many.nvec)), tuple(self._walk(many.start)))
            case "multiBinary":
                shape = tuple(self._walk(entry.multiBinary.shape))
                self.check_shape(shape, "a MultiBinary space")
                return MultiBinary(shape)
            case _:
                self.check_depth(depth + 1)
                parts = self._walk(entry.dict)
                return Dict(tuple((part.key, self._space(part.space, depth + 1)) for part in parts))

    def _box(self, entry: Any) -> Box:
        dtype, shape = DType(self._enumerant(entry.dtype, DTYPES, "dtype")), tuple(self._walk(entry.shape))
        low = self._array(dtype, shape, entry.low, "the lower bound of a Box")
        return Box(dtype, low, self._array(dtype, shape, entry.high, "the upper bound of a Box"))
