"""
An ONNX file to a model and to what its runtime answers.
"""

import re
from contextlib import suppress
from functools import cache
from pathlib import Path

from onnx import ModelProto

from compiler.check import check
from compiler.errors import ModelFileError
from compiler.frontends.lengths import Places, all_lengths, bounded
from compiler.frontends.onnx_file.batch import sequence_of
from compiler.frontends.onnx_file.external import gathered
from compiler.frontends.onnx_file.listing import inventory
from compiler.frontends.onnx_file.loading import load, opset, parsed, prepared
from compiler.frontends.onnx_file.program import translate, translate_length
from compiler.frontends.onnx_file.running import asking
from compiler.frontends.onnx_file.upgrading import OLDEST
from compiler.frontends.onnx_file.widening import widened
from compiler.frontends.operations import Inventory
from compiler.frontends.source import Ask
from compiler.ir import Length, Model, Origin
from compiler.options import BuildOptions

FORMAT = "onnx"
PLAIN = re.compile(r"[0-9A-Za-z._+ -]{1,40}")
MOST_LEAST = 34
"""A file says no smallest length: that at which it can be computed is looked for below this."""


def read(data: memoryview, path: Path, options: BuildOptions) -> tuple[Model, Ask]:
    """
    The model of an ONNX file, and what an ONNX runtime answers.

    Raises:
        CheckpointError: the file is damaged.
        UnsupportedError: it holds what can't be compiled.
    """
    whole, digest = gathered(data, path)
    original = parsed(whole, str(path))
    origin = Origin(path.name, digest, FORMAT, _versions(original))
    proto = prepared(original, str(path))
    sequence = sequence_of(proto.graph, path.name)
    if sequence is None:
        model = translate(proto, path.stem, origin, allow_nonfinite=options.allow_nonfinite_weights)
    else:
        model = _of_all_lengths(proto, path.stem, origin, options, sequence or "length")
    # A file of an old opset is asked itself, not what became of it.
    asked = proto if opset(original) >= OLDEST else original
    wide = widened(asked)
    content = bytes(whole) if wide is None else wide.SerializeToString()
    return model, asking(content, wide or asked, str(path), [output.name for output in model.outputs])


def _of_all_lengths(proto: ModelProto, name: str, origin: Origin, options: BuildOptions, sequence: str) -> Model:
    """
    The model that follows the length of its sequences, from the smallest length at which it can be computed.
    """

    @cache
    def at(length: int) -> tuple[Model, Places]:
        return translate_length(proto, name, origin, allow_nonfinite=options.allow_nonfinite_weights, length=length)

    longest = bounded(sequence, 1, None, options.longest, origin.file)
    for least in range(1, min(MOST_LEAST, longest.most)):
        model = all_lengths(at, Length(longest.name, least, longest.most))
        with suppress(ModelFileError):
            return check(model, origin.file)
    return check(model, origin.file)


def operations(data: memoryview, path: Path, options: BuildOptions) -> Inventory:
    """
    The operations of an ONNX file.
    """
    return inventory(load(gathered(data, path)[0], str(path)), str(path), FORMAT)


def _versions(proto: ModelProto) -> tuple[tuple[str, str], ...]:
    """
    The opset, and what wrote the file if it says so in plain letters.
    """
    producer = (proto.producer_name, proto.producer_version)
    known = all(map(PLAIN.fullmatch, producer))
    return (("onnx opset", str(opset(proto))), *([producer] if known else []))
