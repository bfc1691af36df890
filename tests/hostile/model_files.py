"""
Model files that lie: validly sealed messages whose content nobody may trust.

`CASES` are changes of single fields, made through capnp on the plain values of a sound file; `wire_cases` are changes of
the pointers themselves. Run as a program, this module decodes one case or a series of random ones in a process of its
own, which the tests watch for time, memory and crashes.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from compiler.modelfile import encode
from compiler.modelfile.frame import schema
from tests.test_modelfile import SEAL, sample

Plain = dict[str, Any]
HEAD_WORDS = 1 << 21


def seal(message: bytes) -> bytes:
    """
    The message with a valid seal, made as the schema says and without the compiler.
    """
    root = struct.pack("<iHH", 0, 5, 0)
    return message + struct.pack("<II", 0, 6) + root + b"plcseal\0" + hashlib.sha256(message).digest()


def sound() -> bytes:
    """
    The message of a sound file.
    """
    return encode(sample()).data[:-SEAL]


def message(change: Callable[[Plain], object]) -> bytes:
    """
    A message with the sound file's content after a change, laid out as the schema says.

    Args:
        change: is given all fields as plain values; `blob` is a bytearray.
    """
    with schema().Model.from_bytes(sound(), traversal_limit_in_words=HEAD_WORDS) as root:
        fields = root.to_dict()
    fields["blob"] = bytearray(fields["blob"])
    change(fields)
    blob, padding = fields.pop("blob"), fields.pop("padding", b"")
    built = schema().Model.new_message(num_first_segment_words=HEAD_WORDS)
    built.from_dict(fields)
    used = 8 + len(built.to_segments()[0])
    built.padding = (padding + bytes(64))[: -used % 64]
    built.blob = bytes(blob)
    return bytes(built.to_bytes())


def tensor(fields: Plain, name: str) -> Plain:
    found: Plain = next(entry for entry in fields["tensors"] if entry["name"] == name)
    return found


def grow(fields: Plain, **changes: Any) -> None:
    """
    Adds one more constant, a float32 in a block of its own, with some of its fields changed.
    """
    offset = len(fields["blob"])
    fields["blob"] += bytes(64)
    constant = {"offset": changes.pop("offset", offset), "size": changes.pop("size", 4)}
    added = {"name": "added", "dtype": "float32", "shape": [{"size": 1}], "constant": constant}
    fields["tensors"].append(added | changes)


def sizes(*dimensions: int) -> list[Plain]:
    return [{"size": size} for size in dimensions]


def deep(fields: Plain, depth: int) -> None:
    space: Plain = {"discrete": {"n": 2, "start": 0}}
    for _ in range(depth):
        space = {"dict": [{"key": "k", "space": space}]}
    fields["policy"]["actionSpace"] = space


class Case(NamedTuple):
    """
    A change, and a part of the message with which the file is refused after it.
    """

    change: Callable[[Plain], object]
    words: str


def change(path: str, value: Any) -> Callable[[Plain], object]:
    """
    Sets what a path like `nodes.0.inputs` leads to.
    """
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]

    def apply(fields: Plain) -> None:
        place: Any = fields
        for part in way:
            place = place[part]
        place[last] = value

    return apply


BOX = "policy.observationSpace.dict.0.space.box"
CASES: dict[str, Case] = {
    "newer schema": Case(lambda f: f.update(schemaVersion=2, needs="7.1"), "schema version 2, .* needs policyc 7.1 or"),
    "newer by far": Case(lambda f: f.update(schemaVersion=2**32 - 1, needs="\x1b[31m\n"), r"policyc \\x1b\[31m\\n or"),
    "newer, long need": Case(lambda f: f.update(schemaVersion=2, needs="x" * 100_000), "sound Cap'n Proto message"),
    "schema version 0": Case(change("schemaVersion", 0), "unknown schema version 0"),
    "no magic": Case(change("magic", 0), "not a model file"),
    "other needs": Case(change("needs", "0.0.1"), "no meaning"),
    "dtype of the future": Case(change("tensors.1.dtype", 12), "dtype 12 is unknown"),
    "dtype 65535": Case(change("tensors.0.dtype", 65535), "dtype 65535 is unknown"),
    "dtype of a Box": Case(change(f"{BOX}.dtype", 77), "dtype 77 is unknown"),
    "role of the future": Case(change("outputs.0.role", 4), "role 4 is unknown"),
    "offset not aligned": Case(lambda f: grow(f, offset=32), "byte 32 of the blob, which is not a multiple"),
    "offset at the end": Case(lambda f: grow(f, offset=len(f["blob"]) + 64), "of a blob of"),
    "offset that overflows": Case(lambda f: grow(f, offset=2**64 - 64), "of a blob of"),
    "offset that overflows signed": Case(lambda f: grow(f, offset=2**63), "of a blob of"),
    "size too small": Case(lambda f: grow(f, size=3), "has 4 bytes, declared are 3"),
    "size too large": Case(lambda f: grow(f, size=64), "has 4 bytes, declared are 64"),
    "size 0": Case(lambda f: grow(f, size=0), "has 4 bytes, declared are 0"),
    "shape beyond the blob": Case(lambda f: grow(f, shape=sizes(17)), "of a blob of"),
    "shape that overflows": Case(lambda f: grow(f, shape=sizes(2**32, 2**32)), "of a blob of"),
    "shape that overflows to fit": Case(lambda f: grow(f, shape=sizes(2**62, 4, 1)), "of a blob of"),
    "dimension 0": Case(lambda f: grow(f, shape=sizes(4, 0)), "every dimension must be at least 1"),
    "dimension 2^63": Case(lambda f: grow(f, shape=sizes(2**63)), "every dimension must be"),
    "dimension 2^64-1": Case(change("tensors.0.shape", sizes(2**64 - 1)), "every dimension must be"),
    "computed, too large": Case(change("tensors.0.shape", sizes(2**31, 2)), "too large"),
    "nine dimensions": Case(lambda f: grow(f, shape=sizes(*[1] * 9)), "9 dimensions"),
    "symbol in a constant": Case(lambda f: grow(f, shape=[{"symbol": "batch"}]), "is a constant with the shape"),
    "arrays overlap": Case(lambda f: grow(f, offset=0), "overlap in the blob"),
    "an array within another": Case(
        lambda f: (
            grow(f, shape=sizes(32), size=128),
            f["blob"].extend(bytes(64)),
            grow(f, name="b", offset=len(f["blob"]) - 64),
        ),
        "overlap in the blob",
    ),
    "bytes between arrays": Case(lambda f: change("blob.63", 1)(f), "belong to no array and are not 0"),
    "bytes after the last array": Case(lambda f: f["blob"].extend(b"\1" * 64), "belong to no array and are not 0"),
    "zeros after the last array": Case(lambda f: f["blob"].extend(bytes(64)), "no meaning"),
    "arrays in another order": Case(
        lambda f: (
            grow(f, offset=len(f["blob"]) + 64),
            f["blob"].extend(bytes(64)),
            grow(f, name="b", offset=len(f["blob"]) - 128),
        ),
        "no meaning",
    ),
    "bool of 2": Case(
        lambda f: f["blob"].__setitem__(tensor(f, "mask")["constant"]["offset"], 2), "other than 0 and 1"
    ),
    "blob of odd size": Case(lambda f: f["blob"].extend(bytes(8)), "the blob must be bytes at the end"),
    "no blob": Case(lambda f: f["blob"].clear(), "of a blob of 0"),
    "bound of a Box outside": Case(change(f"{BOX}.low", 1 << 40), "lower bound of a Box takes"),
    "bounds of a Box shared": Case(lambda f: change(f"{BOX}.high", 256)(f) or change(f"{BOX}.low", 256)(f), "overlap"),
    "Box of no elements": Case(change(f"{BOX}.shape", [2, 0]), "every dimension must be at least 1"),
    "Box of nine dimensions": Case(change(f"{BOX}.shape", [1] * 9), "9 dimensions"),
    "Box that overflows": Case(change(f"{BOX}.shape", [2**40, 2**40]), "of a blob of"),
    "MultiBinary of 2^64-1": Case(
        change("policy.actionSpace", {"multiBinary": {"shape": [2**64 - 1]}}), "must be at least"
    ),
    "Dict 17 deep": Case(lambda f: deep(f, 17), "nested more than 16 deep"),
    "Dict 40 deep": Case(lambda f: deep(f, 40), "nested more than 16 deep|too deeply-nested"),
    "two keys of a Dict": Case(
        lambda f: [part.update(key="k") for part in f["policy"]["observationSpace"]["dict"]],
        "Dict space have the name 'k'",
    ),
    "two tensors of one name": Case(lambda f: grow(f, name="mask"), "two tensors have the name 'mask'"),
    "two attributes of one name": Case(
        lambda f: change("nodes.1.attributes.0.name", "threshold")(f), "'act' have the name 'threshold'"
    ),
    "attributes not sorted": Case(lambda f: f["nodes"][1]["attributes"].reverse(), "no meaning"),
    "attribute of another type": Case(change("nodes.1.attributes.0", {"name": "beta", "int": 2}), "beta must be float"),
    "attribute lacks": Case(lambda f: f["nodes"][1]["attributes"].pop(), "attribute threshold is missing"),
    "attribute too many": Case(
        lambda f: f["nodes"][0]["attributes"].append({"name": "zz", "floats": []}), "unknown attribute 'zz'"
    ),
    "unknown op": Case(change("nodes.0.op", "exec"), "unknown op 'exec'"),
    "input out of range": Case(change("inputs", [99]), "tensor 99 is used"),
    "node's input out of range": Case(change("nodes.0.inputs.0", 2**32 - 1), "tensor 4294967295 is used"),
    "node's output out of range": Case(change("nodes.0.outputs.0", 50), "tensor 50 is used"),
    "output out of range": Case(change("outputs.0.tensor", 1000), "tensor 1000 is used"),
    "state out of range": Case(change("states.0.initial", 1000), "tensor 1000 is used"),
    "nodes in a circle": Case(lambda f: f["nodes"].reverse(), "before it is computed"),
    "no outputs": Case(change("outputs", []), "no output"),
    "padding not zero": Case(change("padding", b"\1" * 64), "no meaning"),
    "everything missing": Case(
        lambda f: [f.pop(key) for key in list(f) if key not in ("magic", "schemaVersion", "needs", "blob", "padding")],
        "no output",
    ),
}
"""What one wrong field does."""


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
        for count in (1 << 18, (1 << 18) + 1, (1 << 29) - 1, (1 << 30) - 1):
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
    for kind in (2, 7, 255, 65535):
        for path, label in (("size", "dimension"), ("box", "space"), ("float", "attribute"), ("computed", "tensor")):
            yield f"{label} of kind {kind}", unknown_kind(base, path, kind)


def unknown_kind(base: bytes, alternative: str, kind: int) -> bytes:
    """
    A file in which one union holds an alternative that the schema lacks.
    """
    places = {"size": ("Dimension", 1), "box": ("Space", 1), "float": ("Attribute", 0), "computed": ("Tensor", 1)}
    struct_name, _ = places[alternative]
    wire, first = Wire(base), {"Tensor": "tensors", "Attribute": "nodes", "Dimension": "tensors", "Space": "policy"}
    at = POINTERS[first[struct_name]]
    target = at + 1 + (wire.word(at) >> 2 & (1 << 30) - 1)
    if struct_name == "Space":
        # Policy has no data: its pointers are kind, observation space, action space.
        target = target + 1 + 1 + (wire.word(target + 1) >> 2 & (1 << 30) - 1)
        return put_kind(wire, target, 2, kind)
    target += 1  # after the tag
    if struct_name == "Tensor":
        return put_kind(wire, target, 2, kind)
    entry = target + (3 + 1 if struct_name == "Dimension" else 4)
    if struct_name == "Attribute":
        entry = target + 5 + 4  # the second node's last pointer; a node is five pointers
    inner = entry + 1 + (wire.word(entry) >> 2 & (1 << 30) - 1) + 1
    return put_kind(wire, inner, 8 if struct_name == "Dimension" else 2, kind)


def put_kind(wire: Wire, word: int, byte: int, kind: int) -> bytes:
    struct.pack_into("<H", wire.data, 8 + 8 * word + byte, kind)
    return wire.sealed()
