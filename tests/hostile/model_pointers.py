"""
Model files whose pointers lie: sealed messages, changed word by word.
"""

import struct
from collections.abc import Iterator

from tests.hostile.model_files import seal, sound


class Wire:
    """
    A sound message whose words can be replaced.
    """

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def word(self, index: int) -> int:
        """
        A word of the segment.
        """
        return int(struct.unpack_from("<Q", self.data, 8 + 8 * index)[0])

    def put(self, index: int, value: int) -> None:
        """
        Replaces a word of the segment.
        """
        struct.pack_into("<Q", self.data, 8 + 8 * index, value)

    def append(self, *words: int) -> int:
        """
        Puts words before the blob, in place of 64-byte blocks of padding; returns where they start.
        """
        blob = self.blob_word()
        block = list(words) + [0] * (-len(words) % 8)
        at = 8 + 8 * blob
        self.data[at:at] = struct.pack(f"<{len(block)}Q", *block)
        self.put(BLOB_POINTER, self.word(BLOB_POINTER) + (len(block) << 2))
        struct.pack_into("<I", self.data, 4, len(self.data) // 8 - 1)
        return blob

    def blob_word(self) -> int:
        """
        Where the blob starts, in words of the segment.
        """
        return BLOB_POINTER + 1 + (self.word(BLOB_POINTER) >> 2 & (1 << 30) - 1)

    def sealed(self) -> bytes:
        """
        The file.
        """
        return seal(bytes(self.data))


BLOB_POINTER = 3
POINTERS = {
    name: 4 + index
    for index, name in enumerate(
        ["needs", "name", "origin", "tensors", "inputs", "nodes", "outputs", "states", "policy", "padding"]
    )
}
"""Words of the root's pointers: one for the root itself, two of data, then one for each field in order."""


# Words of data and number of pointers of the structs that are made by hand.
TENSOR, DIMENSION, NODE, ATTRIBUTE, SPACE = (3, 2), (2, 1), (0, 5), (2, 2), (3, 2)


def list_pointer(at: int, target: int, element: int, count: int) -> int:
    return (target - at - 1) << 2 & 0xFFFFFFFF | 1 | element << 32 | count << 35


def struct_pointer(at: int, target: int, data: int, pointers: int) -> int:
    return (target - at - 1) << 2 & 0xFFFFFFFF | data << 32 | pointers << 48


def composite(
    wire: Wire, name: str, count: int, data: int, pointers: int, body: list[int], words: int | None = None
) -> int:
    """
    Points a field to a new list of structs; returns where its first element is.
    """
    tag = count << 2 & 0xFFFFFFFF | data << 32 | pointers << 48
    start = wire.append(tag, *body)
    wire.put(POINTERS[name], list_pointer(POINTERS[name], start, 7, len(body) if words is None else words))
    return start + 1


def wire_cases() -> Iterator[tuple[str, bytes]]:
    """
    Files whose pointers lie.
    """
    base = sound()
    huge = (1 << 29) - 1
    for name, at in {"blob": BLOB_POINTER, **POINTERS}.items():
        for element in range(8):
            wire = Wire(base)
            wire.put(at, list_pointer(at, at + 1, element, huge))
            yield f"{name}: 2^29 elements of size code {element}", wire.sealed()
        for label, value in {
            "null": 0,
            "ones": 2**64 - 1,
            "itself": list_pointer(at, at, 7, 1),
            "the root": struct_pointer(at, 1, 2, 11),
            "beyond the segment": list_pointer(at, 1 << 28, 2, 8),
            "before the segment": list_pointer(at, -100, 2, 8),
            "a far pointer to itself": 2 | at << 3,
            "a double far pointer": 2 | 4 | at << 3,
            "another segment": 2 | 1 << 32,
            "a capability": 3,
        }.items():
            wire = Wire(base)
            wire.put(at, value)
            yield f"{name}: {label}", wire.sealed()
    for name in ("tensors", "nodes", "outputs", "states"):
        for count in (1 << 17, (1 << 17) + 1, (1 << 29) - 1, (1 << 30) - 1):
            wire = Wire(base)
            composite(wire, name, count, 0, 0, [])
            yield f"{name}: {count} structs of size 0", wire.sealed()
        for data, pointers in ((0xFFFF, 0xFFFF), (0, 1), (1, 0), (100, 0), (0, 100)):
            wire = Wire(base)
            composite(wire, name, 2, data, pointers, [0] * 200)
            yield f"{name}: structs of {data} words and {pointers} pointers", wire.sealed()
        wire = Wire(base)
        composite(wire, name, 5, 1, 1, [0, 0])
        yield f"{name}: more structs than words", wire.sealed()
    for words in (0, 1, 2**16, 2**32 - 1):
        wire = Wire(base)
        struct.pack_into("<I", wire.data, 4, words)
        yield f"segment of {words} words", wire.sealed()
    for segments in (1, 2, 511, 2**32 - 1):
        wire = Wire(base)
        struct.pack_into("<I", wire.data, 0, segments)
        yield f"{segments} more segments", wire.sealed()
    for data, pointers in ((0, 0), (2, 0), (1, 11), (0xFFFF, 11), (2, 0xFFFF), (0, 11)):
        wire = Wire(base)
        wire.put(0, struct_pointer(0, 1, data, pointers))
        yield f"root of {data} words and {pointers} pointers", wire.sealed()
    yield "text without its end", seal(base.replace(b"ActorCriticPolicy\0", b"ActorCriticPolicy!"))
    yield "text that is not UTF-8", seal(base.replace(b"ActorCriticPolicy", b"ActorCritic\xff\xfe\xed\xa0\x80y"))
    yield "text with a surrogate", seal(base.replace(b"ppo.zip", b"a\xed\xa0\x80zip"))
    yield "text too long in UTF-8", seal(base.replace(b"sb3-zip", b"sb3\xc0\x80ip"))
    for kind in (9, 255, 65535):
        yield from unknown_kinds(base, kind)


def unknown_kinds(base: bytes, kind: int) -> Iterator[tuple[str, bytes]]:
    """
    Files in which one union holds an alternative that the schema lacks.
    """
    wire = Wire(base)
    composite(wire, "tensors", 1, *TENSOR, [kind << 16, 0, 0, 0, 0])
    yield f"tensor of kind {kind}", wire.sealed()
    wire = Wire(base)
    shape = [list_pointer(4, 5, 7, 3), 1 << 2 | DIMENSION[0] << 32 | DIMENSION[1] << 48, 0, kind, 0]
    composite(wire, "tensors", 1, *TENSOR, [0, 0, 0, 0, *shape], words=5)
    yield f"dimension of kind {kind}", wire.sealed()
    wire = Wire(base)
    attributes = [list_pointer(4, 5, 7, 4), 1 << 2 | ATTRIBUTE[0] << 32 | ATTRIBUTE[1] << 48, kind << 16, 0, 0, 0]
    composite(wire, "nodes", 1, *NODE, [0, 0, 0, 0, *attributes], words=5)
    yield f"attribute of kind {kind}", wire.sealed()
    wire = Wire(base)
    policy(wire, [kind << 16, 0, 0, 0, 0])
    yield f"space of kind {kind}", wire.sealed()


def policy(wire: Wire, space: list[int]) -> None:
    """
    Makes the observation space of a new policy from the words of a Space and of what it points to.
    """
    start = wire.append(0, struct_pointer(1, 3, *SPACE), 0, *space)
    wire.put(POINTERS["policy"], struct_pointer(POINTERS["policy"], start, 0, 3))


def circle(fan: int) -> bytes:
    """
    A Dict whose `fan` parts are the Dict itself.
    """
    wire = Wire(sound())
    parts = [word for index in range(fan) for word in (0, struct_pointer(6 + 2 * index + 1, 0, *SPACE))]
    policy(wire, [4 << 16, 0, 0, list_pointer(3, 5, 7, 2 * fan), 0, fan << 2 | 2 << 48, *parts])
    return wire.sealed()


def shared_text(count: int, size: int) -> bytes:
    """
    Many assumptions that are one long text.
    """
    wire = Wire(sound())
    text = wire.append(*[0x7878787878787878] * (size // 8 - 1), 0x0078787878787878)
    # The origin: no data, pointers to file, sha256, format, versions, assumptions.
    start = wire.append(0, 0, 0, 0, list_pointer(4, 5, 6, count), *[0] * count)
    for index in range(count):
        wire.put(start + 5 + index, list_pointer(start + 5 + index, text, 2, size))
    wire.put(POINTERS["origin"], struct_pointer(POINTERS["origin"], start, 0, 5))
    return wire.sealed()


def shared_list(nodes: int, inputs: int) -> bytes:
    """
    Many nodes that have one list of inputs.
    """
    wire = Wire(sound())
    body = [0] * (5 * nodes) + [0] * (inputs // 2)
    for index in range(nodes):
        body[5 * index + 2] = list_pointer(5 * index + 2, 5 * nodes, 4, inputs)
    composite(wire, "nodes", nodes, *NODE, body, words=5 * nodes)
    return wire.sealed()
