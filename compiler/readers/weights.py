"""
The tensors of a file of weights, whatever wrote it: torch.save, safetensors, or an index of several such files.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler.errors import CheckpointError, UnsupportedError, quote
from compiler.readers.files import read_beside
from compiler.readers.safetensors import MOST_HEADER_BYTES, is_safetensors, read_safetensors
from compiler.readers.tensors import read_tensors, state_dicts

COMPILED_WITH = "_orig_mod"
"""What torch.compile puts into the names of tensors."""
SHARDS = "weight_map"
"""The key of an index that says in which file each tensor lies, as Hugging Face's libraries write it."""
MOST_SHARDS = 4096


@dataclass(frozen=True)
class Weights:
    """
    A state dict in a file.

    Attributes:
        place: the keys that lead to it, joined by dots; empty where it is the whole file.
        names: of its tensors.
        load: makes the tensors; CheckpointError if they are not dense arrays within the file.
    """

    place: str
    names: tuple[str, ...]
    load: Callable[[], dict[str, np.ndarray[Any, Any]]]


def read_weights(data: memoryview, path: Path) -> tuple[list[Weights], str]:
    """
    All state dicts of a file, at least one, and the SHA-256 of its bytes, and of those of its shards behind them.

    Raises:
        CheckpointError: it is damaged, or holds none.
        UnsupportedError: it names files outside of its folder.
    """
    digest = hashlib.sha256(data)
    if not is_index(data) and not is_safetensors(data):
        dicts = state_dicts(data, str(path)).items()
        return [Weights(place, names, load) for place, (names, load) in dicts], digest.hexdigest()
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    if is_index(data):
        places = _shards(data, path)
        for shard in sorted(set(places.values())):
            content = read_beside(path, shard)
            digest.update(content)
            _add(tensors, content, str(path.parent / shard))
        lost = [name for name in places if name not in tensors]
        if lost:
            raise CheckpointError(str(path), f"says that a shard has the tensor {quote(lost[0])}, which none has")
    else:
        tensors = read_safetensors(data, str(path))
    return [Weights("", tuple(tensors), lambda: tensors)], digest.hexdigest()


def is_index(data: memoryview) -> bool:
    """
    Whether the bytes begin as JSON does; what else is in them, `read_weights` says.
    """
    return bytes(data[:1]) == b"{"


def _shards(data: memoryview, path: Path) -> dict[str, str]:
    """
    The file in which each tensor lies, as an index says it.
    """
    try:
        index = json.loads(bytes(data)) if len(data) <= MOST_HEADER_BYTES else None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(str(path), f"is no index of shards: {quote(str(error))}") from None
    places = index.get(SHARDS) if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(str(path), f"is JSON, but no index of shards: it has no {quote(SHARDS)} of texts")
    if len(set(places.values())) > MOST_SHARDS:
        raise UnsupportedError(str(path), f"names more than {MOST_SHARDS:,} files")
    return places


def _add(tensors: dict[str, np.ndarray[Any, Any]], content: memoryview, where: str) -> None:
    """
    Adds the tensors of a shard.
    """
    held = read_safetensors(content, where) if is_safetensors(content) else read_tensors(content, where).tensors
    twice = [name for name in held if name in tensors]
    if twice:
        raise CheckpointError(where, f"has the tensor {quote(twice[0])}, which another shard has too")
    tensors |= held


def uncompiled(name: str) -> str:
    """
    The name that a tensor had before torch.compile.
    """
    return ".".join(part for part in name.split(".") if part != COMPILED_WITH)
