"""
The model file: model to bytes and back. `schemas/model.capnp` is its specification; capnp is imported only in here.

A model file is a stranger's file. `frame.py` knows the bytes around the message, `read.py` says what holds before
anything is taken from it, `write.py` writes; what was read is written again and must give the same bytes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import capnp
import numpy as np

from compiler.check import check
from compiler.errors import ModelFileError, quote
from compiler.ir import Model
from compiler.modelfile.bounds import SCHEMA_VERSION
from compiler.modelfile.frame import (
    check_version,
    is_model_file,
    looks_like_model,
    open_message,
    seal,
    split_message,
    unseal,
)
from compiler.modelfile.read import Reader
from compiler.modelfile.write import Writer

__all__ = ["SCHEMA_VERSION", "EncodedModel", "decode", "encode", "is_model_file", "looks_like_model"]


@dataclass(frozen=True)
class EncodedModel:
    """
    A model file, and where in it a predictor that maps it finds its weights.
    """

    data: bytes
    """The whole file."""
    blob_offset: int
    """First byte of the blob in the file; a multiple of 64."""
    blob_size: int
    """Bytes of the blob; a multiple of 64."""
    offsets: Mapping[str, int]
    """For each constant, by its name, its first byte from the blob's start; a multiple of 64."""


def encode(model: Model) -> EncodedModel:
    """
    The model file of a model. Equal models whose tensors have the same order give equal bytes.

    Raises:
        ModelFileError: if the model is not legal, or holds what a model file cannot.
    """
    where = f"model {quote(model.name)}"
    writer = Writer(where)
    head = writer.head(check(model, where))
    pieces = [array.data for array in writer.pieces]
    digest = hashlib.sha256(head)
    for piece in pieces:
        digest.update(piece)
    return EncodedModel(b"".join([head, *pieces, seal(digest.digest())]), len(head), writer.size, writer.offsets)


def decode(data: bytes | memoryview, where: str) -> Model:
    """
    The model in a model file. Its constants are read-only views of `data`, not copies.

    Args:
        data: the whole file, contiguous; a view of a mapped file will do.
        where: its name, for messages.

    Raises:
        ModelFileError: if it is not a model file, is damaged, of a newer schema, or holds a model that is not legal.
    """
    message = unseal(np.frombuffer(data, dtype=np.uint8), where)
    try:
        check_version(message, where)
        head, blob = split_message(message, where)
        # Each object is read once; twice the head leaves room for what Cap'n Proto counts besides.
        with open_message(message, words=len(head) // 4 + 1024) as root:
            reader = Reader(where, blob)
            model = check(reader.model(root), where)
    except capnp.KjException as error:
        reason = str(error).partition("\n")[0].rpartition("failed: ")[2]
        raise ModelFileError(where, f"the file is not a sound Cap'n Proto message: {quote(reason, 200)}") from None
    except UnicodeDecodeError as error:
        raise ModelFileError(where, f"the file holds a text that is not UTF-8: {quote(error.object)}") from None
    reader.check_coverage()
    if Writer(where).head(model) != head.tobytes():
        raise ModelFileError(
            where, "the file is not what policyc writes for its model: it holds or arranges more than that"
        )
    return model
