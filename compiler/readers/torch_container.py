"""
The two containers of torch.save, opened without torch: the zip of torch >= 1.6 and the pickle stream before it.

Both hold one pickle whose persistent ids refer to storages, flat runs of numbers of one type. Zip: `NAME/data.pkl`, one
member `NAME/data/KEY` per storage, and `NAME/byteorder`. Stream: pickles of a magic number, a protocol version, facts
about the machine, the value and a list of storage keys; then for each key the number of elements as 8 bytes, and the
elements, little-endian whatever the machine (torch/serialization.py, `_save` and `_legacy_save`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.errors import CheckpointError, quote
from compiler.readers.archive import Archive, is_archive
from compiler.readers.pickle_machine import decode, decode_prefix
from compiler.readers.symbols import SHOWN, Persistent, Symbol, describe, walk

MAGIC = 0x1950A86A20F9469CFC6C
STREAM_PROTOCOL = 1001
SIZES = {"f2": 2, "f4": 4, "f8": 8, "bf2": 2, "i1": 1, "i2": 2, "i4": 4, "i8": 8, "u1": 1, "b1": 1}
"""Bytes of an element, by NumPy type code; `bf2` is bfloat16, which NumPy lacks."""

ADVICE = (
    "save model.policy.state_dict() of an agent, or the state_dict() of another module (of a checkpoint of training "
    "the one in it: torch.save(torch.load(file)['model'], 'weights.pth'), or name what makes its module: --module "
    "package.module:factory --trust); or pass the .zip that model.save() writes, or what torch.export.save() does"
)
STORAGE_TYPES = {
    "HalfStorage": "f2",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "BFloat16Storage": "bf2",
    "CharStorage": "i1",
    "ShortStorage": "i2",
    "IntStorage": "i4",
    "LongStorage": "i8",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
    "UntypedStorage": "u1",
}
STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")


@dataclass(frozen=True)
class Storage:
    """
    What a persistent id says of a storage: its key, the type code of its elements (a key of `SIZES`), and their number.
    """

    key: str
    code: str
    count: int
    untyped: bool

    @property
    def size(self) -> int:
        """
        Its size in bytes.
        """
        return self.count * SIZES[self.code]


@dataclass(frozen=True)
class Saved:
    """
    What torch.save wrote: the decoded value, and the bytes of each storage that it refers to.

    Attributes:
        value: the decoded pickle.
        storages: the bytes of each storage by key; exactly as many as its persistent ids say.
        order: byte order of the storages, "<" or ">".
    """

    value: object
    storages: Mapping[str, memoryview]
    order: str


def open_saved(data: bytes | memoryview, where: str) -> Saved:
    """
    Open what torch.save wrote.

    Args:
        data: the whole file.
        where: the file, for messages.

    Raises:
        CheckpointError: it is neither container, is damaged, or its storages are not what its pickle says.
    """
    return _open_zip(data, where) if is_archive(data) else _open_stream(memoryview(data), where)


def parse_storage(reference: Persistent, where: str) -> Storage:
    """
    Interpret a persistent id: ("storage", type, key, location, number of elements[, view]).

    Raises:
        CheckpointError: it is something else, or a type of storage that dense policies never have.
    """
    identifier = reference.identifier
    if isinstance(identifier, tuple) and len(identifier) > 1 and identifier[0] == "module":
        raise CheckpointError(where, f"holds a pickled module, {describe(identifier[1])}, not a state dict; {ADVICE}")
    if not isinstance(identifier, tuple) or len(identifier) not in (5, 6) or identifier[0] != "storage":
        raise CheckpointError(where, f"refers to something else than a storage: {describe(identifier)}")
    _, kind, key, _, count = identifier[:5]
    if not isinstance(kind, Symbol) or kind.module not in STORAGE_MODULES or kind.name not in STORAGE_TYPES:
        raise CheckpointError(where, f"refers to a storage of an unknown type: {describe(kind)}")
    if not isinstance(key, str) or type(count) is not int or count < 0:
        raise CheckpointError(where, f"refers to a storage by {describe(key)} with {describe(count)} elements")
    if len(identifier) == 6 and identifier[5] is not None:
        raise CheckpointError(where, f"refers to a part of storage {quote(key[:SHOWN])}, as torch before 0.4 did")
    return Storage(key, STORAGE_TYPES[kind.name], count, kind.name == "UntypedStorage")


def _referred(value: object, where: str) -> dict[str, Storage]:
    """
    Every storage that a value refers to, by key.
    """
    storages: dict[str, Storage] = {}
    for node in walk(value):
        if isinstance(node, Persistent):
            storage = parse_storage(node, where)
            if storages.setdefault(storage.key, storage) != storage:
                raise CheckpointError(where, f"contradicts itself about storage {quote(storage.key[:SHOWN])}")
    return storages


def _open_zip(data: bytes | memoryview, where: str) -> Saved:
    archive = Archive.open(data, where, deflated=False)
    roots = [name.removesuffix("data.pkl") for name in archive.names if name.endswith("/data.pkl")]
    if any("/code/" in name or name.endswith("/constants.pkl") for name in archive.names):
        raise CheckpointError(where, "is a TorchScript archive, not the weights of a policy")
    if len(roots) != 1 or roots[0].count("/") != 1:
        raise CheckpointError(where, "is a zip archive, but not one that torch.save wrote: it has no single data.pkl")
    root = roots[0]
    value = decode(archive.read(f"{root}data.pkl"), f"{where}: data.pkl")
    order = bytes(archive.read(f"{root}byteorder")) if f"{root}byteorder" in archive else b"little"
    if order not in (b"little", b"big"):
        raise CheckpointError(where, f"has an unknown byte order {quote(order[:SHOWN])}")
    storages: dict[str, memoryview] = {}
    for key, storage in _referred(value, where).items():
        name = f"{root}data/{key}"
        if archive.size(name) != storage.size:
            text = (
                f"storage {quote(key[:SHOWN])} has {archive.size(name):,} bytes where the pickle says {storage.size:,}"
            )
            raise CheckpointError(where, text)
        storages[key] = memoryview(archive.read(name))
    return Saved(value, storages, "<" if order == b"little" else ">")


def _open_stream(data: memoryview, where: str) -> Saved:
    if bytes(data[:1]) != b"\x80":
        raise CheckpointError(
            where, "is not a file that torch.save wrote: neither a zip archive nor a stream of pickles"
        )
    magic, position = decode_prefix(data, where)
    if magic != MAGIC or not isinstance(magic, int):
        raise CheckpointError(
            where,
            f"is not a file that torch.save wrote, but a pickle of {describe(magic)}; pass the .zip that model.save() "
            "writes (with the file of VecNormalize.save() as --vecnormalize, if the agent was trained with one)",
        )
    values: list[object] = []
    for _ in ("protocol", "machine", "value", "keys"):
        value, length = decode_prefix(data[position:], where)
        values.append(value)
        position += length
    protocol, _, value, keys = values
    if protocol != STREAM_PROTOCOL:
        raise CheckpointError(where, f"has version {describe(protocol)} of torch's stream; {STREAM_PROTOCOL} is read")
    return Saved(value, _read_storages(data, position, _referred(value, where), keys, where), "<")


def _read_storages(
    data: memoryview, position: int, referred: dict[str, Storage], keys: object, where: str
) -> dict[str, memoryview]:
    """
    The storages of a stream, which follow one another from `position` to the end in the order of `keys`.
    """
    listed = [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
    if keys != listed or len(listed) != len(referred) or set(listed) != set(referred):
        raise CheckpointError(where, "lists other storages at its end than the pickle refers to")
    storages: dict[str, memoryview] = {}
    for key in listed:
        start = position + 8
        count = int.from_bytes(data[position:start], "little")
        position = start + referred[key].size
        called = f"storage {quote(key[:SHOWN])}"
        if position > len(data):
            text = f"{called} of {referred[key].size:,} bytes goes beyond the end of the file"
            raise CheckpointError(where, text)
        if count != referred[key].count:
            raise CheckpointError(
                where, f"{called} has {count:,} elements where the pickle says {referred[key].count:,}"
            )
        storages[key] = data[start:position]
    if position != len(data):
        raise CheckpointError(where, f"{len(data) - position:,} bytes follow the last storage")
    return storages
