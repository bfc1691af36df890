"""
Model to message. The order in which fields are set here is the order in which they lie in the file.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.errors import quote
from compiler.ir import (
    SAMPLINGS,
    Attribute,
    Box,
    Dict,
    Dimension,
    Discrete,
    Length,
    Model,
    MultiBinary,
    MultiDiscrete,
    Node,
    Origin,
    Policy,
    Space,
    Tensor,
)
from compiler.modelfile.bounds import ALIGNMENT, LENGTHS, MAXIMUM_BLOB, MAXIMUM_HEAD, NEEDS, Bounded
from compiler.modelfile.frame import MODEL_MAGIC, Bytes, frame, schema
from compiler.ops.lengths import length_of

FRAMING = 8


class Writer(Bounded):
    """
    Writes everything before the blob, and collects the arrays that make the blob. Serves one model.
    """

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.pieces: list[Bytes] = []
        """The blob, cut into arrays and the zeros between them."""
        self.size = 0
        """Bytes of all pieces."""
        self.offsets: dict[str, int] = {}
        """For each constant, its first byte from the blob's start."""
        self._index: dict[str, int] = {}

    def head(self, model: Model) -> bytes:
        """
        The file up to its blob, for a legal model.
        """
        # One segment: the first is as large as all may be together, and takes memory only where it is written.
        root = schema().Model.new_message(num_first_segment_words=MAXIMUM_HEAD // 8)
        try:
            self._root(root, model)
        except UnicodeEncodeError as error:
            self.refuse(f"the text {quote(error.object)} has a lone surrogate and can't be stored as UTF-8; rename it")
        used = FRAMING + sum(map(len, root.to_segments()))
        padding = -used % ALIGNMENT
        if used + padding > MAXIMUM_HEAD:
            self.refuse(f"the model without its weights takes {used} bytes; at most {MAXIMUM_HEAD} are allowed")
        if padding:
            root.padding = bytes(padding)
        (segment,) = root.to_segments()
        return frame(segment, self.size)

    def _root(self, root: Any, model: Model) -> None:
        root.magic = int.from_bytes(MODEL_MAGIC, "little")
        root.schemaVersion = 1 if length_of(model) is None else LENGTHS
        root.needs = NEEDS
        root.name = model.name
        self._origin(root.init("origin"), model.origin)
        self._index = {name: index for index, name in enumerate(model.tensors)}
        for entry, tensor in self._entries(root, "tensors", tuple(model.tensors.values())):
            self._tensor(entry, tensor)
        self._indices(root, "inputs", model.inputs)
        for entry, node in self._entries(root, "nodes", model.nodes):
            self._node(entry, node)
        for entry, output in self._entries(root, "outputs", model.outputs):
            entry.name, entry.tensor, entry.role = output.name, self._index[output.tensor], output.role
        for entry, state in self._entries(root, "states", model.states):
            entry.name = state.name
            entry.input = self._index[state.input]
            entry.output = self._index[state.output]
            entry.initial = self._index[state.initial]
        root.unbatched = not model.batched
        if model.policy is not None:
            self._policy(root.init("policy"), model.policy)

    def _entries(self, parent: Any, field: str, values: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """
        A list of structs, each with the value that goes into it.
        """
        return zip(parent.init(field, self.count(len(values))), values, strict=True)

    def _plain(self, parent: Any, field: str, values: Sequence[Any]) -> None:
        """
        A list of numbers or texts.
        """
        entries = parent.init(field, self.count(len(values)))
        for index, value in enumerate(values):
            entries[index] = value

    def _indices(self, parent: Any, field: str, names: Sequence[str]) -> None:
        self._plain(parent, field, [self._index[name] for name in names])

    def _sizes(self, parent: Any, shape: tuple[int, ...], what: str) -> None:
        self.check_shape(shape, what)
        self._plain(parent, "shape", list(map(int, shape)))

    def _int64(self, value: int, what: str) -> int:
        if not -1 << 63 <= value < 1 << 63:
            self.refuse(f"{what} is {quote(value)}, which 64 bits cannot hold")
        return int(value)

    def _origin(self, entry: Any, origin: Origin) -> None:
        entry.file, entry.sha256, entry.format = origin.file, origin.sha256, origin.format
        for version, (name, text) in self._entries(entry, "versions", origin.versions):
            version.name, version.version = name, text
        self._plain(entry, "assumptions", origin.assumptions)
        entry.vecnormalize = origin.vecnormalize

    def _tensor(self, entry: Any, tensor: Tensor) -> None:
        entry.name, entry.dtype = tensor.name, tensor.dtype.value
        for dimension, size in self._entries(entry, "shape", tensor.shape):
            self._dimension(dimension, size)
        if tensor.data is not None:
            constant = entry.init("constant")
            constant.offset = self.offsets[tensor.name] = self._place(tensor.data)
            constant.size = tensor.data.nbytes

    def _dimension(self, entry: Any, size: Dimension) -> None:
        if isinstance(size, str):
            entry.symbol = size
        elif isinstance(size, Length):
            self._length(entry.init("length"), size)
        else:
            entry.size = int(size)

    def _length(self, entry: Any, size: Length) -> None:
        entry.name, entry.least, entry.most, entry.shift = size.name, size.least, size.most, size.shift

    def _place(self, array: NDArray[np.generic]) -> int:
        """
        Takes one more array into the blob; returns its offset.
        """
        if self.size + array.nbytes > MAXIMUM_BLOB:
            self.refuse(f"the weights take more than {MAXIMUM_BLOB} bytes, which is the most a model file can hold")
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        raw = np.ascontiguousarray(little).reshape(-1).view(np.uint8)
        if array.dtype.kind == "b" and raw.max() > 1:
            self.refuse("a bool array holds bytes other than 0 and 1")
        offset, padding = self.size, -raw.size % ALIGNMENT
        self.pieces += [raw, np.zeros(padding, np.uint8)]
        self.size += raw.size + padding
        return offset

    def _node(self, entry: Any, node: Node) -> None:
        entry.op, entry.name = node.op, node.name
        self._indices(entry, "inputs", node.inputs)
        self._indices(entry, "outputs", node.outputs)
        for attribute, (name, value) in self._entries(entry, "attributes", sorted(node.attributes.items())):
            attribute.name = name
            self._attribute(attribute, value, f"attribute {quote(name)} of node {quote(node.name)}")

    def _attribute(self, entry: Any, value: Attribute, what: str) -> None:
        kind: Any = type(value)
        kinds: set[Any] = set(map(type, value)) if isinstance(value, tuple) else set()
        if kind is bool:
            entry.bool = value
        elif kind is int:
            entry.int = self._int64(value, what)  # type: ignore[arg-type]
        elif kind is float:
            entry.float = value
        elif kind is str:
            entry.text = value
        elif isinstance(value, Length):
            self._length(entry.init("length"), value)
        elif isinstance(value, tuple) and Length in kinds and kinds <= {int, Length}:
            for dimension, size in self._entries(entry, "sizes", value):
                self._dimension(dimension, size)
        elif isinstance(value, tuple) and kinds <= {int}:
            self._plain(entry, "ints", [self._int64(item, what) for item in value])  # type: ignore[arg-type]
        elif isinstance(value, tuple) and kinds in ({float}, {str}):
            self._plain(entry, "floats" if kinds == {float} else "texts", value)
        else:
            self.refuse(f"{what} must be bool, int, float, str or a tuple of one of the last three, is {quote(value)}")

    def _policy(self, entry: Any, policy: Policy) -> None:
        entry.kind = policy.kind
        self._space(entry.init("observationSpace"), policy.observation_space)
        self._space(entry.init("actionSpace"), policy.action_space)
        if policy.sampling is not None:
            sampling = entry.init("sampling")
            sampling.kind = SAMPLINGS.index(policy.sampling.kind)
            sampling.squash, sampling.epsilon = policy.sampling.squash, policy.sampling.epsilon

    def _space(self, entry: Any, space: Space, depth: int = 0) -> None:
        match space:
            case Box():
                self._box(entry.init("box"), space)
            case Discrete():
                discrete = entry.init("discrete")
                discrete.n, discrete.start = self._int64(space.n, "n"), self._int64(space.start, "start")
            case MultiDiscrete():
                many = entry.init("multiDiscrete")
                self._plain(many, "nvec", [self._int64(value, "nvec") for value in space.nvec])
                self._plain(many, "start", [self._int64(value, "start") for value in space.start])
            case MultiBinary():
                self._sizes(entry.init("multiBinary"), space.shape, "a MultiBinary space")
            case Dict():
                self.check_depth(depth + 1)
                self.check_different([key for key, _ in space.spaces], "parts of a Dict space")
                for part, (key, inner) in self._entries(entry, "dict", space.spaces):
                    part.key = key
                    self._space(part.init("space"), inner, depth + 1)

    def _box(self, entry: Any, box: Box) -> None:
        entry.dtype = box.dtype.value
        self._sizes(entry, box.shape, "a Box space")
        for bound in (box.low, box.high):
            if (bound.shape, bound.dtype) != (box.shape, box.dtype.numpy):
                self.refuse(f"a bound of a Box is {bound.dtype}{bound.shape}, not {box.dtype}{box.shape}")
        entry.low = self._place(box.low)
        entry.high = self._place(box.high)
