"""
Weights that lie in files beside an ONNX file, as torch.onnx.export writes them unless told otherwise.

A file from a stranger may name any file as its data. Read are files in its own folder and below, no links that lead out
of there, and no more bytes than those files have, whatever the tensors say that they share.
"""

import hashlib
from pathlib import Path

from onnx import ModelProto, TensorProto

from compiler.errors import CheckpointError, UnsupportedError, quote
from compiler.frontends.onnx_file.walking import tensors_of
from compiler.readers.files import read_beside
from compiler.readers.limits import DEFAULT

LARGEST_FILE = (1 << 31) - 1
"""Bytes of a protobuf message, by protobuf's own rule."""
MOST_FILES = 4096
"""Some tools write one for each tensor."""


def is_external(tensor: TensorProto) -> bool:
    """
    Whether the data of a tensor lie in another file.
    """
    return tensor.data_location == TensorProto.EXTERNAL or len(tensor.external_data) > 0


def gathered(data: memoryview, path: Path) -> tuple[memoryview, str]:
    """
    An ONNX file with all its data in it, and the SHA-256 of its bytes and of those of its other files behind them.

    Args:
        data: the file; what is no ONNX file is returned as it is.
        path: where it lies.

    Raises:
        CheckpointError: another file can't be read, or is shorter than its tensors say.
        UnsupportedError: it names a file outside of its folder, or all is together larger than protobuf can hold.
    """
    digest = hashlib.sha256(data)
    model = ModelProto()
    try:
        model.ParseFromString(bytes(data[:LARGEST_FILE]))
        outside = [tensor for tensor in tensors_of(model.graph) if is_external(tensor)]
        places = [_place(tensor) for tensor in outside]
    except Exception:  # whatever protobuf raises on other bytes: `load` says it
        return data, digest.hexdigest()
    if not outside:
        return data, digest.hexdigest()
    files = _opened(path, sorted({location for location, *_ in places}))
    for name in files:
        digest.update(files[name])
    room = min(DEFAULT.tensor_bytes(sum(map(len, files.values()))), LARGEST_FILE - len(data))
    for tensor, (location, offset, length) in zip(outside, places, strict=True):
        whole = files[location]
        end = len(whole) if length is None else offset + length
        if not 0 <= offset <= end <= len(whole):
            text = f"tensor {quote(tensor.name)} is in the bytes {offset:,} to {end:,} of {quote(location)}"
            raise CheckpointError(str(path), f"{text}, which has {len(whole):,}: copy both files again")
        room -= end - offset
        if room < 0:
            text = f"has more data in other files than is read: {LARGEST_FILE:,} bytes in all, and none of them often"
            raise UnsupportedError(str(path), text)
        tensor.raw_data = bytes(whole[offset:end])
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    return memoryview(model.SerializeToString()), digest.hexdigest()


def _place(tensor: TensorProto) -> tuple[str, int, int | None]:
    """
    The name of the file, and where in it; ValueError where that are no numbers.
    """
    has = {str(entry.key): str(entry.value) for entry in tensor.external_data}
    return has.get("location", ""), int(has.get("offset", "0")), int(has["length"]) if "length" in has else None


def _opened(path: Path, locations: list[str]) -> dict[str, memoryview]:
    """
    The other files, by the names that the tensors give them.
    """
    if len(locations) > MOST_FILES:
        text = f"has data in {len(locations):,} other files; at most {MOST_FILES:,} are read"
        raise UnsupportedError(str(path), text)
    return {location: read_beside(path, location) for location in locations}
