"""
The tensors of a .safetensors file, as NumPy arrays.

The format: 8 bytes, little-endian, say how long the header is; the header is a JSON object of names, each with dtype,
shape and the range of bytes in the rest of the file, which the tensors fill without gaps or overlap.
Source: https://github.com/huggingface/safetensors, "Format".
"""

import json
import math
from typing import Any, NoReturn

import numpy as np

from compiler.errors import CheckpointError, quote
from compiler.readers.limits import DEFAULT

LENGTH_BYTES = 8
MOST_HEADER_BYTES = 100_000_000
"""As the safetensors library has it."""
METADATA = "__metadata__"
TYPES = {
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "BF16": "<u2",
    "I8": "<i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "<u1",
    "BOOL": "<u1",
}


def is_safetensors(data: memoryview) -> bool:
    """
    Whether the bytes begin as a .safetensors file does.
    """
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    return len(data) > LENGTH_BYTES and bytes(data[LENGTH_BYTES : LENGTH_BYTES + 1]) == b"{" and 2 <= length < len(data)


def read_safetensors(data: memoryview, where: str) -> dict[str, np.ndarray[Any, Any]]:
    """
    All tensors by name, in the order of the file. bfloat16 becomes float32, exactly.

    Raises:
        CheckpointError: the file is damaged or contradicts itself.
    """
    header, body = _header(data, where)
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    taken: list[tuple[int, int]] = []
    for name, entry in header.items():
        if name == METADATA:
            continue
        tensors[name], place = _tensor(name, entry, body, where)
        taken.append(place)
    end = 0
    for start, stop in sorted(taken):
        if start != end:
            _refuse(where, f"its tensors leave a gap or overlap at byte {end:,}")
        end = stop
    if end != len(body):
        _refuse(where, f"has {len(body):,} bytes of tensors, its header describes {end:,}")
    return tensors


def _header(data: memoryview, where: str) -> tuple[dict[str, Any], memoryview]:
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    if not 2 <= length <= min(MOST_HEADER_BYTES, len(data) - LENGTH_BYTES):
        _refuse(where, f"says that its header has {length:,} bytes, of {len(data):,} in all")
    try:
        header = json.loads(bytes(data[LENGTH_BYTES : LENGTH_BYTES + length]), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        _refuse(where, f"its header is not JSON: {quote(str(error))}")
    if not isinstance(header, dict) or len(header) > DEFAULT.leaves:
        _refuse(where, "its header is not a JSON object of tensors")
    return header, data[LENGTH_BYTES + length :]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _tensor(name: str, entry: Any, body: memoryview, where: str) -> tuple[np.ndarray[Any, Any], tuple[int, int]]:
    """
    One tensor and its range of bytes.
    """
    if not isinstance(entry, dict):
        _refuse(where, f"{quote(name)} is not described by an object")
    code: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    place: Any = entry.get("data_offsets")
    if code not in TYPES:
        _refuse(where, f"{quote(name)} has the dtype {quote(code)}; read are {', '.join(TYPES)}")
    if not _sizes(shape) or not _sizes(place) or len(place) != 2:
        _refuse(where, f"{quote(name)} has the shape {quote(shape)} at {quote(place)}")
    start, stop = place
    kind = np.dtype(TYPES[code])
    if not start <= stop <= len(body) or stop - start != math.prod(shape) * kind.itemsize:
        _refuse(where, f"{quote(name)}, {code} of shape {shape}, can't stand in the bytes {start:,} to {stop:,}")
    array = np.frombuffer(body[start:stop], kind).reshape(shape)
    if code == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(bool) if code == "BOOL" else array, (start, stop)


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 48 for size in value)


def _refuse(where: str, finding: str) -> NoReturn:
    raise CheckpointError(where, finding)
