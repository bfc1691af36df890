"""
An ONNX file to a model and to what its runtime answers.
"""

import hashlib
import re
from pathlib import Path

from onnx import ModelProto

from compiler.frontends.onnx_file.listing import inventory
from compiler.frontends.onnx_file.loading import load, opset
from compiler.frontends.onnx_file.program import translate
from compiler.frontends.onnx_file.running import asking
from compiler.frontends.operations import Inventory
from compiler.frontends.source import Ask
from compiler.ir import Model, Origin
from compiler.options import BuildOptions

FORMAT = "onnx"
PLAIN = re.compile(r"[0-9A-Za-z._+ -]{1,40}")


def read(data: memoryview, path: Path, options: BuildOptions) -> tuple[Model, Ask]:
    """
    The model of an ONNX file, and what an ONNX runtime answers.

    Raises:
        CheckpointError: the file is damaged.
        UnsupportedError: it holds what can't be compiled.
    """
    proto = load(data, str(path))
    origin = Origin(path.name, hashlib.sha256(data).hexdigest(), FORMAT, _versions(proto))
    model = translate(proto, path.stem, origin, allow_nonfinite=options.allow_nonfinite_weights)
    return model, asking(bytes(data), proto, str(path))


def operations(data: memoryview, path: Path, options: BuildOptions) -> Inventory:
    """
    The operations of an ONNX file.
    """
    return inventory(load(data, str(path)), str(path), FORMAT)


def _versions(proto: ModelProto) -> tuple[tuple[str, str], ...]:
    """
    The opset, and what wrote the file if it says so in plain letters.
    """
    producer = (proto.producer_name, proto.producer_version)
    known = all(map(PLAIN.fullmatch, producer))
    return (("onnx opset", str(opset(proto))), *([producer] if known else []))
