"""
The bytes around and between the messages of a model file: framing, seal, version, and where the blob lies.
"""

import functools
import hashlib
import struct
from typing import Any, TypeAlias

import capnp
import numpy as np
from numpy.typing import NDArray

from compiler.errors import ModelFileError, quote
from compiler.modelfile.bounds import ALIGNMENT, MAXIMUM_HEAD, SCHEMA_VERSION
from compiler.resources import resource

# Without this, `import x_capnp` anywhere in the process would look for schemas on sys.path.
capnp.remove_import_hook()

Bytes: TypeAlias = NDArray[np.uint8]

MODEL_MAGIC = b"policyc\0"
_SEAL_START = struct.pack("<IIIHH", 0, 6, 0, 5, 0) + b"plcseal\0"
_SEAL_SIZE = len(_SEAL_START) + hashlib.sha256().digest_size
_FRAME = struct.Struct("<II")
"""Number of segments less one, words of the only segment."""
_ROOT = struct.Struct("<IHH8s")
"""The pointer to the root: offset and kind, words of data, number of pointers; then the root's first field."""
_POINTER = struct.Struct("<II")
"""A pointer to a list: offset in words from its own end and kind, length and size of an element."""
_LIST, _BYTE = 1, 2
"""The kind of a pointer to a list, and the size code of its elements."""


@functools.cache
def schema() -> Any:
    """
    The compiled `schemas/model.capnp`.
    """
    return capnp.load(str(resource("schemas") / "model.capnp"))


def open_message(message: Bytes, words: int) -> Any:
    """
    A context manager that gives the root of a message, from which at most this many words can be read.
    """
    return schema().Model.from_bytes(message, traversal_limit_in_words=words, nesting_limit=64)


def seal(digest: bytes) -> bytes:
    """
    The second message of a file whose first has this SHA-256.
    """
    return _SEAL_START + digest


def frame(segment: bytes, blob_size: int) -> bytes:
    """
    The file up to its blob: the segment framed, with the pointer to the blob that is to follow it.

    The pointer is set here because pycapnp would copy the blob three times on its way into a message.
    """
    head = bytearray(_FRAME.pack(0, (len(segment) + blob_size) // 8) + segment)
    at = _blob_pointer(memoryview(head))
    _POINTER.pack_into(head, at, (len(head) - at - 8) // 8 << 2 | _LIST, blob_size << 3 | _BYTE)
    return bytes(head)


def is_model_file(data: bytes | memoryview) -> bool:
    """
    Whether the bytes end as a model file does. Looks at the last 56 bytes alone.
    """
    seal_at = memoryview(data).nbytes - _SEAL_SIZE
    return seal_at > 0 and bytes(data[seal_at : seal_at + len(_SEAL_START)]) == _SEAL_START


def looks_like_model(data: bytes | memoryview) -> bool:
    """
    Whether the bytes begin as a model file does, even if they are truncated or damaged after that.
    """
    start = bytes(data[: _FRAME.size + _ROOT.size])
    if len(start) < _FRAME.size + _ROOT.size:
        return False
    more_segments, _ = _FRAME.unpack_from(start)
    pointer, _, _, magic = _ROOT.unpack_from(start, _FRAME.size)
    return bool(more_segments == 0 and pointer == 0 and magic == MODEL_MAGIC)


def unseal(file: Bytes, where: str) -> Bytes:
    """
    The first message of a file whose seal holds; aligned to words, read-only.

    Raises:
        ModelFileError: if it is not a model file, or not as it was written.
    """
    if not looks_like_model(file.data):
        raise ModelFileError(where, "this is not a model file of policyc, or its beginning is damaged")
    size = _FRAME.size + 8 * _FRAME.unpack_from(file.data)[1]
    expected = size + _SEAL_SIZE
    if file.size != expected:
        raise ModelFileError(where, f"the file is damaged: it must have {expected} bytes and has {file.size}")
    message = file[:size]
    if file[size:].tobytes() != seal(hashlib.sha256(message.data).digest()):
        raise ModelFileError(where, "the file is damaged: its SHA-256 differs from the one in its seal")
    if message.ctypes.data % 8:
        message = message.copy()
    message.flags.writeable = False
    return message


def check_version(message: Bytes, where: str) -> None:
    """
    Refuses a file of a newer schema, of which nothing but a few fields can be understood.
    """
    with open_message(message, words=1024) as root:
        version = root.schemaVersion
        if version > SCHEMA_VERSION:
            raise ModelFileError(
                where,
                f"the file has schema version {version}, this policyc reads up to {SCHEMA_VERSION}: "
                f"it needs policyc {quote(root.needs)[1:-1]} or newer",
            )
    if version < 1:
        raise ModelFileError(where, f"the file has the unknown schema version {version}")


def split_message(message: Bytes, where: str) -> tuple[Bytes, Bytes]:
    """
    The message up to its blob, and the blob, found without pycapnp, whose traversal limit would count it.
    """
    pointer = _blob_pointer(message.data)
    if not pointer:
        raise ModelFileError(where, "the file has no blob")
    low, high = _POINTER.unpack_from(message.data, pointer)
    start, size = pointer + 8 + 8 * (low >> 2), high >> 3
    if (low & 3, high & 7) != (_LIST, _BYTE) or start + size != message.size or start % ALIGNMENT or size % ALIGNMENT:
        raise ModelFileError(where, f"the blob must be bytes at the end of the message, aligned to {ALIGNMENT}")
    if start > MAXIMUM_HEAD:
        raise ModelFileError(where, f"{start} bytes lie before the blob; at most {MAXIMUM_HEAD} are allowed")
    return message[:start], message[start:]


def _blob_pointer(message: memoryview) -> int:
    """
    Where the pointer to the blob is: the root's first pointer. 0 if it has none.
    """
    _, data_words, pointers, _ = _ROOT.unpack_from(message, _FRAME.size)
    position: int = _FRAME.size + 8 + 8 * data_words
    return position if pointers and position + 8 <= len(message) else 0
