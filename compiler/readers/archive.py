"""
A zip archive that trusts nothing it is told, and extracts nothing to disk.

Zip readers disagree on files that contradict themselves, and scanners are fooled that way. So there is one reading
only: members and central directory must tile the file from its first byte to its last, and each local header must say
what the directory says. Accepted is what SB3, torch and ordinary tools write: stored and deflated members, zip64
fields, data descriptors. The layout is that of PKWARE's APPNOTE 6.3.
"""

import re
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import NoReturn

from compiler.errors import CheckpointError, quote
from compiler.readers.limits import DEFAULT, Limits

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR = struct.Struct("<4sIQI")

STORED, DEFLATED = 0, 8
DESCRIPTOR, UTF8 = 0x0008, 0x0800
ENCRYPTION = 0x0001 | 0x0040 | 0x2000
KNOWN_FLAGS = DESCRIPTOR | UTF8 | 0x0006  # the last two only say how hard deflate tried
ZIP64_FIELD, UNICODE_PATH_FIELD = 0x0001, 0x7075
ELSEWHERE = 0xFFFFFFFF  # the value stands in the zip64 field
CHUNK = 1 << 20
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Member:
    """
    One entry of the central directory; sizes and offsets in bytes from the start of the archive.
    """

    name: str
    raw_name: bytes
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    offset: int
    attributes: int


def is_archive(data: bytes | memoryview) -> bool:
    """
    Whether the bytes begin as a zip archive does, whatever the file is called.
    """
    return bytes(data[:4]) in (b"PK\x03\x04", b"PK\x05\x06")


class Archive:
    """
    A zip archive whose directory has been checked against its members; `open` makes one.

    Attributes:
        names: the members, folders left out, in the order of the central directory.
    """

    names: tuple[str, ...]

    def __init__(self, data: memoryview, where: str, members: dict[str, Member], starts: dict[str, int]) -> None:
        self._data = data
        self._where = where
        self._members = members
        self._starts = starts
        self.names = tuple(name for name in members if not name.endswith("/"))

    @classmethod
    def open(
        cls, data: bytes | memoryview, where: str, *, deflated: bool = True, limits: Limits = DEFAULT
    ) -> "Archive":
        """
        Check everything that can be checked without inflating.

        Args:
            data: the whole archive.
            where: the file, for messages.
            deflated: whether compressed members are allowed.
            limits: bounds on the members and on their inflated size.

        Raises:
            CheckpointError: the archive is damaged, contradicts itself, is encrypted, names a member twice or outside
                the archive, holds links, or inflates to more than the limits allow.
        """
        view = memoryview(data).toreadonly()
        parser = _Parser(view, where, limits)
        members, directory_start = parser.directory()
        starts = parser.tile(members, directory_start)
        for member in members.values():
            if member.method == DEFLATED and not deflated:
                parser.refuse(f"{_called(member.name)} is compressed; torch stores its members as they are")
        return cls(view, where, members, starts)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        """
        How many bytes `read` will give for a member; CheckpointError if there is none of that name.
        """
        return self._member(name).size

    def read(self, name: str) -> memoryview | bytes:
        """
        The bytes of one member: a view if it is stored, a copy if it was deflated.

        Raises:
            CheckpointError: there is no such member, or its size or CRC-32 is not what the directory says.
        """
        member = self._member(name)
        start = self._starts[name]
        packed = self._data[start : start + member.packed]
        content = packed if member.method == STORED else self._inflate(member, packed)
        if zlib.crc32(content) != member.checksum:
            self._refuse(f"{_called(name)} is damaged: its CRC-32 is not {member.checksum:#010x}")
        return content

    def _member(self, name: str) -> Member:
        if name not in self._members:
            self._refuse(f"has no member {quote(name)}")
        return self._members[name]

    def _inflate(self, member: Member, packed: memoryview) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        content = bytearray()
        try:
            for start in range(0, len(packed), CHUNK):
                pending: bytes | memoryview = packed[start : start + CHUNK]
                while pending and len(content) <= member.size:
                    # One byte more than declared is enough to know that the declaration lies.
                    content += inflater.decompress(pending, min(CHUNK, member.size + 1 - len(content)))
                    pending = inflater.unconsumed_tail
                if len(content) > member.size:
                    break
        except zlib.error as error:
            self._refuse(f"{_called(member.name)} is damaged: {error}")
        if len(content) != member.size or not inflater.eof or inflater.unused_data:
            self._refuse(f"{_called(member.name)} does not inflate to the {member.size:,} bytes that it declares")
        return bytes(content)

    def _refuse(self, text: str) -> NoReturn:
        raise CheckpointError(self._where, text)


def _called(name: str) -> str:
    return f"zip member {quote(name)}"


class _Parser:
    """
    Reads the structure of one archive, from its end to its beginning.
    """

    def __init__(self, data: memoryview, where: str, limits: Limits) -> None:
        self.data = data
        self.where = where
        self.limits = limits

    def refuse(self, text: str) -> NoReturn:
        raise CheckpointError(self.where, text)

    def directory(self) -> tuple[dict[str, Member], int]:
        """
        The members by name, and where the central directory starts.
        """
        count, position, end = self._end()
        start = position
        members: dict[str, Member] = {}
        folded: set[str] = set()
        for _ in range(count):
            member, position = self._entry(position, end)
            # torch finds members without regard to case, other readers do not.
            if member.name.casefold() in folded:
                self.refuse(f"{_called(member.name)} is there twice (duplicate name)")
            folded.add(member.name.casefold())
            members[member.name] = member
        if position != end:
            self.refuse("the zip directory does not end where its end record begins")
        total = sum(member.size for member in members.values())
        allowed = self.limits.inflated(len(self.data))
        if total > allowed:
            self.refuse(f"declares {total:,} bytes once it is inflated; at most {allowed:,} for a file of this size")
        return members, start

    def _end(self) -> tuple[int, int, int]:
        """
        From the end records: how many members there are, where the directory begins and where it ends.
        """
        tail = bytes(self.data[-(END.size + 0xFFFF) :])
        found = tail.rfind(b"PK\x05\x06")
        if found < 0 or found + END.size > len(tail):
            self.refuse("is a zip archive without an end record: truncated, or followed by other bytes")
        position = len(self.data) - len(tail) + found
        _, disk, first, here, count, size, start, comment = END.unpack_from(tail, found)
        if position + END.size + comment != len(self.data):
            self.refuse("is a zip archive with trailing bytes after its end record")
        if disk or first or here != count:
            self.refuse("is a zip archive of several parts")
        end = position
        if position >= LOCATOR.size and bytes(self.data[position - LOCATOR.size :][:4]) == b"PK\x06\x07":
            count, size, start, end = self._end64(position - LOCATOR.size, (count, size, start))
        if start + size != end:
            self.refuse("the zip directory is not where its end record says: bytes were prepended, or it was changed")
        if count > self.limits.members:
            self.refuse(f"has {count:,} zip members; at most {self.limits.members:,} are read")
        return count, start, end

    def _end64(self, locator: int, short: tuple[int, int, int]) -> tuple[int, int, int, int]:
        end = locator - END64.size
        _, disk, target, disks = LOCATOR.unpack_from(self.data, locator)
        if end < 0 or target != end or disk or disks > 1:
            self.refuse("the zip64 end record is not where its locator says")
        signature, length, _, _, disk, first, here, count, size, start = END64.unpack_from(self.data, end)
        if signature != b"PK\x06\x06" or length != END64.size - 12 or disk or first or here != count:
            self.refuse("the zip64 end record is damaged")
        for value, long, elsewhere in zip(short, (count, size, start), (0xFFFF, ELSEWHERE, ELSEWHERE), strict=True):
            if value not in (long, elsewhere):
                self.refuse("the end record and the zip64 end record disagree")
        return count, size, start, end

    def _entry(self, position: int, end: int) -> tuple[Member, int]:
        """
        One record of the central directory, and where the next one begins.
        """
        if position + CENTRAL.size > end:
            self.refuse("the zip directory is truncated")
        fields = CENTRAL.unpack_from(self.data, position)
        signature, _, _, flags, method, _, _, checksum, packed, size = fields[:10]
        name_length, extra_length, comment_length, disk, _, attributes, offset = fields[10:]
        name_end = position + CENTRAL.size + name_length
        extra_end = name_end + extra_length
        if signature != b"PK\x01\x02" or extra_end + comment_length > end or disk:
            self.refuse("the zip directory is damaged")
        raw_name = bytes(self.data[position + CENTRAL.size : name_end])
        name = self._name(raw_name, flags)
        extra = self._extra(bytes(self.data[name_end:extra_end]), name)
        size, packed, offset = self._widen(extra, name, size, packed, offset)
        member = Member(name, raw_name, flags, method, checksum, packed, size, offset, attributes)
        self._check(member)
        return member, extra_end + comment_length

    def _name(self, raw: bytes, flags: int) -> str:
        try:
            name = raw.decode("utf-8" if flags & UTF8 else "cp437")
        except UnicodeDecodeError:
            self.refuse(f"zip member {quote(raw)}: the name is not UTF-8")
        if CONTROL.search(name):
            self.refuse(f"{_called(name)}: the name holds a control character")
        parts = name.removesuffix("/").split("/")
        if name.startswith("/") or "\\" in name or ":" in parts[0] or not {"", ".", ".."}.isdisjoint(parts):
            self.refuse(f"{_called(name)}: the name is not a plain path inside the archive")
        return name

    def _extra(self, extra: bytes, name: str) -> dict[int, bytes]:
        fields: dict[int, bytes] = {}
        position = 0
        while position < len(extra):
            if position + 4 > len(extra):
                self.refuse(f"{_called(name)}: its extra field is damaged")
            kind, length = struct.unpack_from("<HH", extra, position)
            position += 4 + length
            if position > len(extra) or kind in fields:
                self.refuse(f"{_called(name)}: its extra field is damaged")
            fields[kind] = extra[position - length : position]
        if UNICODE_PATH_FIELD in fields:
            self.refuse(f"{_called(name)}: it has a second name in its extra field")
        return fields

    def _widen(self, extra: dict[int, bytes], name: str, *values: int) -> list[int]:
        """
        The values, those that are `ELSEWHERE` taken from the zip64 field, which holds only these, in this order.
        """
        field = extra.get(ZIP64_FIELD, b"")
        missing = values.count(ELSEWHERE)
        if len(field) < 8 * missing:
            self.refuse(f"{_called(name)}: its zip64 field is damaged")
        wide = iter(struct.unpack_from(f"<{missing}Q", field))
        return [next(wide) if value == ELSEWHERE else value for value in values]

    def _check(self, member: Member) -> None:
        called = _called(member.name)
        if member.flags & ENCRYPTION:
            self.refuse(f"{called} is encrypted")
        if member.flags & ~KNOWN_FLAGS:
            self.refuse(f"{called} has unknown flags {member.flags:#06x}")
        if member.method not in (STORED, DEFLATED):
            self.refuse(f"{called} uses compression method {member.method}; only stored and deflated are read")
        if member.method == STORED and member.size != member.packed:
            self.refuse(f"{called} is stored, yet its two sizes differ")
        kind = stat.S_IFMT(member.attributes >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            self.refuse(f"{called} is a {'symbolic link' if kind == stat.S_IFLNK else 'special file'}")
        if member.size and (kind == stat.S_IFDIR or member.name.endswith("/")):
            self.refuse(f"{called} is a folder with content")

    def tile(self, members: dict[str, Member], directory_start: int) -> dict[str, int]:
        """
        Where the content of each member starts, once members are known to follow one another without gap or overlap.
        """
        ordered = sorted(members.values(), key=lambda member: member.offset)
        offsets = [*(member.offset for member in ordered), directory_start]
        if offsets[0] != 0:
            self.refuse("is a zip archive with other bytes before its first member")
        return {member.name: self._local(member, end) for member, end in zip(ordered, offsets[1:], strict=True)}

    def _local(self, member: Member, end: int) -> int:
        """
        Check a member's local header, and that its content reaches exactly to `end`.
        """
        called = _called(member.name)
        if member.offset + LOCAL.size > end:
            self.refuse(f"{called} overlaps what follows it")
        fields = LOCAL.unpack_from(self.data, member.offset)
        signature, _, flags, method, _, _, checksum, packed, size = fields[:9]
        name_end = member.offset + LOCAL.size + int(fields[9])
        start = name_end + int(fields[10])
        if start + member.packed > end:
            self.refuse(f"{called} overlaps what follows it")
        if signature != b"PK\x03\x04":
            self.refuse(f"{called} has no local header")
        if bytes(self.data[member.offset + LOCAL.size : name_end]) != member.raw_name:
            self.refuse(f"{called} has another name in its local header")
        extra = self._extra(bytes(self.data[name_end:start]), member.name)
        size, packed = self._widen(extra, member.name, size, packed)
        told = (flags, method, checksum, size, packed)
        true = (member.flags, member.method, member.checksum, member.size, member.packed)
        for label, here, there in zip(("flags", "method", "CRC", "size", "packed size"), told, true, strict=True):
            later = bool(member.flags & DESCRIPTOR) and label not in ("flags", "method") and here == 0
            if here != there and not later:
                self.refuse(f"{called}: local header and directory disagree on its {label}")
        if bytes(self.data[start + member.packed : end][:25]) not in _descriptors(member):
            self.refuse(f"{called} is followed by bytes that belong to no member")
        return start


def _descriptors(member: Member) -> tuple[bytes, ...]:
    """
    What may stand between a member's content and the next header.
    """
    if not member.flags & DESCRIPTOR:
        return (b"",)
    wide = struct.pack("<IQQ", member.checksum, member.packed, member.size)
    forms = [wide, b"PK\x07\x08" + wide]
    if max(member.packed, member.size) <= ELSEWHERE:
        short = struct.pack("<III", member.checksum, member.packed, member.size)
        forms += [short, b"PK\x07\x08" + short]
    return tuple(forms)
