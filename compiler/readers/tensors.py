"""
The tensors of a file that torch.save wrote, as NumPy arrays, without torch.

Accepted is a state dict, or what SB3's `policy.save()` writes around one. A tensor is a call of `_rebuild_tensor_v2`
with a storage, an offset, sizes and strides, all in elements; each is checked against the bytes that are there before
an array is made. Only dense tensors of plain numbers are read.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeAlias

import numpy as np

from compiler.errors import CheckpointError, quote
from compiler.readers.limits import DEFAULT
from compiler.readers.numpy_values import as_shape
from compiler.readers.symbols import SHOWN, Call, Persistent, Symbol, describe, mapping
from compiler.readers.torch_container import ADVICE, SIZES, Saved, open_saved, parse_storage

REBUILD = "torch._utils._rebuild_tensor_v2"
REBUILD_TYPED = "torch._utils._rebuild_tensor_v3"
REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
DENSE_TYPES = {
    "torch.float16": "f2",
    "torch.float32": "f4",
    "torch.float64": "f8",
    "torch.bfloat16": "bf2",
    "torch.int8": "i1",
    "torch.int16": "i2",
    "torch.int32": "i4",
    "torch.int64": "i8",
    "torch.uint8": "u1",
    "torch.bool": "b1",
}
LARGEST_INDEX = 1 << 59
"""Largest offset or stride in elements; times the 8 bytes of an element it fits 64 bits."""

MOST_FINDINGS = 50
ORDERED = Symbol("collections", "OrderedDict")
OPTIMIZER = {"state", "param_groups"}
"""The keys of an optimizer's state."""
DEEPEST = 3
"""Keys that lead to a state dict in a checkpoint of training."""

Arrays: TypeAlias = dict[str, np.ndarray]


@dataclass(frozen=True)
class TensorFile:
    """
    The content of a file that torch.save wrote.

    Attributes:
        tensors: by name, in the order of the state dict: dense, C-contiguous, aligned, read-only, in native byte order;
            float16, float32, float64, int8 to int64, uint8 or bool. bfloat16 has become float32, exactly. Tensors that
            share memory in the file may do so here.
        module_paths: the path of every module that the state dict was taken from, also of those without tensors, in
            order; "" is the outermost. Empty if the file does not tell.
        data: what `policy.save()` adds, the constructor's arguments by name, as decoded values; None for a state dict.
    """

    tensors: dict[str, np.ndarray]
    module_paths: tuple[str, ...]
    data: dict[str, object] | None


def read_tensors(data: bytes | memoryview, where: str) -> TensorFile:
    """
    Read a state dict, bare or from `policy.save()`.

    Args:
        data: the whole file: the zip of torch >= 1.6, or the stream of pickles before it.
        where: the file, for messages.

    Raises:
        CheckpointError: the file is damaged, exceeds a limit, holds something else (a pickled module is named by its
            class), or has tensors that are not dense arrays within their storages; all bad tensors are listed.
    """
    saved = open_saved(data, where)
    state, extra = _split(saved.value, where)
    builder = _Builder(saved, DEFAULT.tensor_bytes(len(data)))
    return TensorFile(_arrays(mapping(state, where), builder, where), _module_paths(state, where), extra)


def state_dicts(data: bytes | memoryview, where: str) -> dict[str, tuple[tuple[str, ...], Callable[[], Arrays]]]:
    """
    Everything that may be a state dict in what torch.save wrote: checkpoints of training hold one beside other things.

    Args:
        data: the whole file.
        where: the file, for messages.

    Returns:
        By the keys that lead to it, joined by dots (none for what is the whole file): the names of its tensors, and
        what makes them, which raises CheckpointError as `read_tensors` does.

    Raises:
        CheckpointError: as `read_tensors`, and if there is none.
    """
    saved = open_saved(data, where)
    found: dict[str, tuple[tuple[str, ...], Callable[[], Arrays]]] = {}
    pending: deque[tuple[tuple[str, ...], object]] = deque([((), saved.value)])
    seen: set[int] = set()
    while pending:
        path, value = pending.popleft()
        if not _is_dict(value) or id(value) in seen:
            continue
        seen.add(id(value))
        entries = {key: each for key, each in mapping(value, where).items() if isinstance(key, str)}
        if entries.keys() >= OPTIMIZER or len(path) > DEEPEST:
            continue
        pending += [((*path, key), each) for key, each in entries.items()]
        tensors = {key: each for key, each in entries.items() if _is_tensor(each)}
        if tensors:
            builder = _Builder(saved, DEFAULT.tensor_bytes(len(data)))
            found.setdefault(".".join(path), (tuple(tensors), partial(_arrays, tensors, builder, where)))
    if not found:
        _split(saved.value, where)
        raise CheckpointError(where, f"holds no tensors of a state dict; {ADVICE}")
    return found


def _arrays(entries: Mapping[Any, object], builder: "_Builder", where: str) -> Arrays:
    """
    The tensors of a state dict; all bad ones are listed.
    """
    tensors: Arrays = {}
    findings: list[str] = []
    for key, value in entries.items():
        name = _text(key, where)
        try:
            tensors[name] = builder.tensor(value)
        except _TensorError as error:
            findings.append(f"{quote(name[:SHOWN])}: {error}")
    if findings:
        more = [f"and {len(findings) - MOST_FINDINGS:,} more"] if len(findings) > MOST_FINDINGS else []
        raise CheckpointError(where, *findings[:MOST_FINDINGS], *more)
    return tensors


def _split(value: object, where: str) -> tuple[object, dict[str, object] | None]:
    """
    The state dict in a decoded value, and the `data` that `policy.save()` puts beside it.
    """
    if isinstance(value, Call) and value.function != ORDERED:
        if value.function in (
            Symbol("torch._utils", "_rebuild_tensor_v2"),
            Symbol("torch._utils", "_rebuild_parameter"),
        ):
            raise CheckpointError(where, f"holds a single tensor, not a state dict; {ADVICE}")
        raise CheckpointError(where, f"holds {describe(value)}, not a state dict; {ADVICE}")
    if not isinstance(value, (dict, Call)):
        raise CheckpointError(where, f"holds {describe(value)}, not a state dict; {ADVICE}")
    entries = mapping(value, where)
    names = set(entries)
    if names >= OPTIMIZER:
        raise CheckpointError(where, f"holds the state of an optimizer, not of a policy; {ADVICE}")
    if names == {"state_dict", "data"}:
        data = mapping(entries["data"], f"{where}: data")
        return entries["state_dict"], {_text(key, f"{where}: data"): content for key, content in data.items()}
    inner = [key for key, content in entries.items() if _holds_tensors(content)]
    if inner:
        text = f"is a checkpoint of training: a state dict is one of the things in it, that of {describe(inner[0])}"
        raise CheckpointError(where, f"{text}; {ADVICE}")
    if not any(_is_tensor(content) for content in entries.values()):
        raise CheckpointError(where, f"holds {describe(value)}, but no tensors of a state dict; {ADVICE}")
    return value, None


def _text(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise CheckpointError(where, f"has the key {describe(key)}, which is not text")
    return key


def _is_dict(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, Call) and value.function == ORDERED)


def _holds_tensors(value: object) -> bool:
    """
    Whether it is a dict of tensors itself.
    """
    return _is_dict(value) and any(map(_is_tensor, mapping(value, "a state dict").values()))


def _is_tensor(value: object) -> bool:
    return isinstance(value, Call) and isinstance(value.function, Symbol) and value.function.module == "torch._utils"


def _module_paths(state: object, where: str) -> tuple[str, ...]:
    """
    The keys of the attribute `_metadata`, which `Module.state_dict` sets on its OrderedDict.
    """
    if not isinstance(state, Call) or state.state is None:
        return ()
    attributes = mapping(state.state, where)
    if set(attributes) != {"_metadata"}:
        raise CheckpointError(where, f"the state dict has unknown attributes: {describe(state.state)}")
    paths = mapping(attributes["_metadata"], f"{where}: _metadata")
    for path, facts in paths.items():
        # {"version": 2} and the like; whatever names a global here is not what Module.state_dict writes.
        for fact in mapping(facts, f"{where}: _metadata of {describe(path)}").values():
            if not isinstance(fact, (bool, int, float, str, type(None))):
                raise CheckpointError(f"{where}: _metadata of {describe(path)}", f"holds {describe(fact)}")
    return tuple(_text(path, f"{where}: _metadata") for path in paths)


class _TensorError(Exception):
    """
    What is wrong with one tensor; becomes one finding.
    """


class _Builder:
    """
    Makes arrays of one file's tensors, each object once, within a budget of bytes for all of them.
    """

    def __init__(self, saved: Saved, budget: int) -> None:
        self.storages: Mapping[str, memoryview] = saved.storages
        self.order = saved.order
        self.budget = budget
        self.made: dict[int, np.ndarray] = {}

    def refuse(self, text: str) -> NoReturn:
        raise _TensorError(text)

    def tensor(self, value: object) -> np.ndarray:
        if id(value) not in self.made:
            self.made[id(value)] = self._make(value)
        return self.made[id(value)]

    def _make(self, value: object) -> np.ndarray:
        path = value.function.path if isinstance(value, Call) and isinstance(value.function, Symbol) else ""
        if not isinstance(value, Call) or path not in (REBUILD, REBUILD_TYPED, REBUILD_PARAMETER):
            self.refuse(f"expected a dense tensor, found {describe(value)}")
        if value.keywords or value.items or value.appends or value.state is not None:
            self.refuse("the tensor has unknown attributes")
        if path == REBUILD_PARAMETER:
            if len(value.arguments) != 3 or not _is_empty(value.arguments[2]):
                self.refuse(f"the parameter has hooks or unknown arguments: {describe(value)}")
            if isinstance(value.arguments[0], Call) and value.arguments[0].function == value.function:
                self.refuse("a parameter of a parameter")
            return self.tensor(value.arguments[0])
        return self._dense(value, typed=path == REBUILD_TYPED)

    def _dense(self, call: Call, *, typed: bool) -> np.ndarray:
        """
        A tensor from (storage, offset, size, stride, requires_grad, hooks[, dtype][, metadata]).
        """
        fewest = 7 if typed else 6
        if len(call.arguments) not in (fewest, fewest + 1) or not _is_empty(call.arguments[5]):
            self.refuse(f"the tensor has hooks or unknown arguments: {describe(call)}")
        if len(call.arguments) > fewest and not (call.arguments[-1] is None or _is_empty(call.arguments[-1])):
            self.refuse(f"the tensor has unknown metadata: {describe(call.arguments[-1])}")
        reference, offset, size, stride = call.arguments[:4]
        if not isinstance(reference, Persistent):
            self.refuse(f"expected a storage, found {describe(reference)}")
        storage = parse_storage(reference, "tensor")
        code = self._type(call.arguments[6]) if typed else storage.code
        if storage.untyped and not typed:
            self.refuse("the tensor does not say of which type its elements are")
        try:
            shape = as_shape(size, "size")
        except CheckpointError as error:
            self.refuse(str(error))
        if not isinstance(stride, tuple) or len(stride) != len(shape):
            self.refuse("size and stride do not fit together")
        strides = tuple(self._index(step) for step in stride)
        return self._view(self.storages[storage.key], code, self._index(offset), shape, strides)

    def _index(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_INDEX:
            self.refuse(f"has an impossible offset or stride: {describe(value)}")
        return value

    def _type(self, value: object) -> str:
        if not isinstance(value, Symbol) or value.path not in DENSE_TYPES:
            self.refuse(f"the type of its elements is not supported: {describe(value)}")
        return DENSE_TYPES[value.path]

    def _view(
        self, raw: memoryview, code: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> np.ndarray:
        """
        The array at an offset in a storage, all three in elements, once it is known to lie within the storage.
        """
        width = SIZES[code]
        count = math.prod(shape)
        last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True)) if count else 0
        if (last + 1) * width > len(raw) and count:
            self.refuse(f"reaches to byte {(last + 1) * width:,} of a storage that has {len(raw):,} bytes")
        if count * width > len(raw):
            self.refuse(f"has {count * width:,} logical bytes in a storage that has {len(raw):,} bytes")
        self._spend(count * (4 if code == "bf2" else width))
        stored = np.dtype({"bf2": "u2", "b1": "u1"}.get(code, code)).newbyteorder("<" if self.order == "<" else ">")
        if count == 0:
            flat = np.empty(shape, stored)
        else:
            base = np.frombuffer(raw[offset * width : (last + 1) * width], stored)
            flat = np.lib.stride_tricks.as_strided(base, shape, [step * width for step in strides], writeable=False)
        return _native(flat, code)

    def _spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            self.refuse("the tensors are together far larger than the file: many share one storage")


def _native(array: np.ndarray, code: str) -> np.ndarray:
    """
    A stored array as TensorFile promises it; a view wherever the file's bytes allow.
    """
    if code == "bf2":
        # bfloat16 is the upper half of a float32.
        array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    elif code == "b1":
        array = array != 0
    result = np.require(array, array.dtype.newbyteorder("="), ["C", "A"])
    result.flags.writeable = False
    return result


def _is_empty(value: object) -> bool:
    """
    Whether it is an empty dict or OrderedDict: the hooks of a tensor without hooks.
    """
    if isinstance(value, Call):
        bare = not (value.arguments or value.items or value.keywords or value.appends or value.state)
        return bare and value.function == ORDERED
    return isinstance(value, dict) and not value
