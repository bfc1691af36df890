"""
Whether bytes look like an ONNX file: the outermost fields of a ModelProto, read without any library.
"""

from collections.abc import Iterator

LENGTH_DELIMITED = 2
GRAPH, OPSET_IMPORT = 7, 8
MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, GRAPH: 2, OPSET_IMPORT: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Fields of a ModelProto with their wire type: ir_version, producer_name, ..."""
MOST_FIELDS = 10_000
LONGEST_NUMBER = 10
"""Bytes of the longest variable-length number of protobuf."""


def is_onnx(data: memoryview) -> bool:
    """
    Whether the data are a protobuf message with the fields of a ModelProto, a graph and an opset import among them.
    """
    found = set()
    for count, (field, kind) in enumerate(_fields(data)):
        if MODEL_FIELDS.get(field) != kind or count >= MOST_FIELDS:
            return False
        found.add(field)
    return {GRAPH, OPSET_IMPORT} <= found


def _fields(data: memoryview) -> Iterator[tuple[int, int]]:
    """
    Number and wire type of each outermost field; (0, 0), which no message has, where there is no field.
    """
    place = 0
    while place < len(data):
        key, place = _number(data, place)
        length = 0
        if key & 7 in (0, LENGTH_DELIMITED):
            length, place = _number(data, place)
        if place < 0:
            yield 0, 0
            return
        if key & 7 == LENGTH_DELIMITED:
            place += length
        yield (key >> 3, key & 7) if place <= len(data) else (0, 0)


def _number(data: memoryview, place: int) -> tuple[int, int]:
    """
    A variable-length number and the place after it; -1 where there is none.
    """
    value = 0
    for index, byte in enumerate(bytes(data[place : place + LONGEST_NUMBER]) if place >= 0 else b""):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, place + index + 1
    return 0, -1
