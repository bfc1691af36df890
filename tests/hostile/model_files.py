"""
Model files that lie: validly sealed messages whose content nobody may trust.

`CASES` are changes of single fields, made through capnp on the plain values of a sound file. `model_pointers.py`
changes the pointers themselves, `model_demands.py` makes what is costly or random.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from compiler.modelfile import encode
from compiler.modelfile.frame import schema
from tests.test_modelfile import SEAL, sample

Plain = dict[str, Any]
HEAD_WORDS = 1 << 22
"""More than a file may have, so that too large a message is still in one segment."""


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


def message(change: Callable[[Plain], object], base: bytes | None = None) -> bytes:
    """
    A message with a sound file's content after a change, laid out as the schema says.

    Args:
        change: is given all fields as plain values; `blob` is a bytearray.
        base: the message of the sound file, if it is another than `sound`.
    """
    with schema().Model.from_bytes(base or sound(), traversal_limit_in_words=HEAD_WORDS) as root:
        fields = root.to_dict()
    fields["blob"] = bytearray(fields["blob"])
    for node in fields["nodes"]:
        # to_dict gives a union before the other fields; in the file it comes after them.
        node["attributes"] = [{"name": entry["name"], **entry} for entry in node["attributes"]]
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


def grow_twice(fields: Plain, first: dict[str, Any], room: int, second: int) -> None:
    """
    Adds two constants: one, `room` bytes more, then another at `second` bytes from the blob's end.
    """
    grow(fields, **first)
    fields["blob"] += bytes(room)
    grow(fields, name="b", offset=len(fields["blob"]) + second)


def swap_blocks(fields: Plain) -> None:
    """
    Exchanges the places of two constants that take 64 bytes each.
    """
    one, other, blob = tensor(fields, "mask")["constant"], tensor(fields, "zeros")["constant"], fields["blob"]
    here, there = slice(one["offset"], one["offset"] + 64), slice(other["offset"], other["offset"] + 64)
    blob[here], blob[there] = blob[there], blob[here]
    one["offset"], other["offset"] = other["offset"], one["offset"]


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


def change(path: str, value: Any) -> Callable[[Plain], None]:
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
    "newer schema": Case(lambda f: f.update(schemaVersion=3, needs="7.1"), "schema version 3, .* needs policyc 7.1 or"),
    "newer by far": Case(lambda f: f.update(schemaVersion=2**32 - 1, needs="\x1b[31m\n"), r"policyc \\x1b\[31m\\n or"),
    "newer, long need": Case(lambda f: f.update(schemaVersion=3, needs="x" * 100_000), "sound Cap'n Proto message"),
    "schema version 0": Case(change("schemaVersion", 0), "unknown schema version 0"),
    "no magic": Case(change("magic", 0), "not a model file"),
    "other needs": Case(change("needs", "0.0.1"), "not what policyc writes"),
    "dtype of the future": Case(change("tensors.1.dtype", 12), "dtype 12 is unknown"),
    "dtype 65535": Case(change("tensors.0.dtype", 65535), "dtype 65535 is unknown"),
    "dtype of a Box": Case(change(f"{BOX}.dtype", 77), "dtype 77 is unknown"),
    "role of the future": Case(change("outputs.0.role", 5), "role 5 is unknown"),
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
        lambda f: grow_twice(f, {"shape": sizes(32), "size": 128}, room=64, second=-64), "overlap in the blob"
    ),
    "bytes between arrays": Case(change("blob.63", 1), "belong to no array and are not 0"),
    "bytes after the last array": Case(lambda f: f["blob"].extend(b"\1" * 64), "belong to no array and are not 0"),
    "zeros after the last array": Case(lambda f: f["blob"].extend(bytes(64)), "not what policyc writes"),
    "arrays in another order": Case(swap_blocks, "not what policyc writes"),
    "bool of 2": Case(
        lambda f: f["blob"].__setitem__(tensor(f, "mask")["constant"]["offset"], 2), "tensor 'mask' is bool and holds"
    ),
    "blob of odd size": Case(lambda f: f["blob"].extend(bytes(8)), "the blob must be bytes at the end"),
    "no blob": Case(lambda f: f["blob"].clear(), "of a blob of 0"),
    "bound of a Box outside": Case(change(f"{BOX}.low", 1 << 40), "lower bound of a Box takes"),
    "bounds of a Box shared": Case(
        lambda f: [change(f"{BOX}.{bound}", 256)(f) for bound in ("low", "high")], "overlap"
    ),
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
        "a key of the Dict is there twice|Dict space have the name 'k'",
    ),
    "two tensors of one name": Case(lambda f: grow(f, name="mask"), "two tensors have the name 'mask'"),
    "two attributes of one name": Case(
        change("nodes.1.attributes.0.name", "threshold"), "'act' have the name 'threshold'"
    ),
    "attributes not sorted": Case(lambda f: f["nodes"][1]["attributes"].reverse(), "not what policyc writes"),
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
    "padding not zero": Case(change("padding", b"\1" * 64), "not what policyc writes"),
    "everything missing": Case(
        lambda f: [f.pop(key) for key in list(f) if key not in ("magic", "schemaVersion", "needs", "blob", "padding")],
        "no output",
    ),
}
"""What one wrong field does."""
