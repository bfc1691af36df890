"""
A writer of zip archives that says whatever it is told to: every field of both headers can be made to lie.
"""

import struct
import zlib
from dataclasses import dataclass

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")


@dataclass(frozen=True)
class Entry:
    """
    A member. What is None is what an honest writer would put there.
    """

    name: str | bytes
    content: bytes = b""
    deflated: bool = False
    flags: int = 0
    attributes: int = 0o600 << 16
    packed: bytes | None = None
    size: int | None = None
    checksum: int | None = None
    local_name: bytes | None = None
    local_flags: int | None = None
    local_method: int | None = None
    local_size: int | None = None
    local_checksum: int | None = None
    descriptor: bytes = b""
    offset: int | None = None
    method: int | None = None
    local_extra: bytes = b""
    extra: bytes = b""


def deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(content) + compressor.flush()


def zip_bytes(
    entries: list[Entry], *, before: bytes = b"", between: bytes = b"", after: bytes = b"", comment: bytes = b"",
    count: int | None = None,
) -> bytes:  # fmt: skip
    """
    An archive of the entries; `before`, `between` (members and directory) and `after` are extra bytes.
    """
    body, directory = bytearray(before), bytearray()
    for entry in entries:
        name = entry.name.encode() if isinstance(entry.name, str) else entry.name
        packed = entry.packed
        if packed is None:
            packed = deflate(entry.content) if entry.deflated else entry.content
        method = entry.method if entry.method is not None else 8 * entry.deflated
        size = len(entry.content) if entry.size is None else entry.size
        checksum = zlib.crc32(entry.content) if entry.checksum is None else entry.checksum
        offset = len(body) if entry.offset is None else entry.offset
        directory += CENTRAL.pack(
            b"PK\x01\x02", 20, 20, entry.flags, method, 0, 33, checksum, len(packed), size,
            len(name), len(entry.extra), 0, 0, 0, entry.attributes, offset,
        ) + name + entry.extra  # fmt: skip
        local_name = name if entry.local_name is None else entry.local_name
        body += LOCAL.pack(
            b"PK\x03\x04", 20,
            entry.flags if entry.local_flags is None else entry.local_flags,
            method if entry.local_method is None else entry.local_method,
            0, 33,
            checksum if entry.local_checksum is None else entry.local_checksum,
            len(packed),
            size if entry.local_size is None else entry.local_size,
            len(local_name), len(entry.local_extra),
        ) + local_name + entry.local_extra + packed + entry.descriptor  # fmt: skip
    body += between
    number = len(entries) if count is None else count
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, number, number, len(directory), len(body), len(comment))
    return bytes(body + directory + end + comment + after)


def zip64_end(archive: bytes, **changes: int) -> bytes:
    """
    The archive with a zip64 end record and locator before its end record, as torch writes them.
    """
    end = archive.rfind(b"PK\x05\x06")
    count, size, start = struct.unpack_from("<HII", archive, end + 10)
    told = {"count": count, "size": size, "start": start, "target": end, **changes}
    record = struct.pack(
        "<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, told["count"], told["count"], told["size"], told["start"]
    )
    return archive[:end] + record + struct.pack("<4sIQI", b"PK\x06\x07", 0, told["target"], 1) + archive[end:]
