"""
An assembler of pickles: says opcode by opcode what no pickler would write, and needs no class that it names.

Values are written as plain pickles of protocol 2 (or 4) write them; `Global`, `Call` and `Reference` stand for what
pickle would import, call or look up; `Raw` is any opcodes at all.
"""

import struct
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Global:
    """
    A global by module and name; `stack` writes STACK_GLOBAL where protocol 2 has GLOBAL.
    """

    module: str
    name: str
    stack: bool = False


@dataclass(frozen=True)
class Call:
    """
    A call by REDUCE (or by NEWOBJ), with items set on its result, and a state.
    """

    function: object
    arguments: tuple = ()
    state: object = None
    items: tuple = ()
    new: bool = False


@dataclass(frozen=True)
class Reference:
    """
    A persistent id.
    """

    identifier: object


@dataclass(frozen=True)
class Raw:
    """
    Opcodes as they are; together they must leave one value on the stack, if the pickle is to make sense.
    """

    opcodes: bytes


@dataclass
class Shared:
    """
    A value that is written once, and fetched from the memo from then on.
    """

    value: object
    index: int | None = field(default=None)


def assemble(value: object, protocol: int = 2) -> bytes:
    """
    A whole pickle.
    """
    return bytes([0x80, protocol]) + Assembler().write(value) + b"."


class Assembler:
    """
    Writes values, and counts memo entries.
    """

    def __init__(self) -> None:
        self.stored = 0

    def write(self, value: object) -> bytes:
        simple = {None: b"N", True: b"\x88", False: b"\x89"}
        if value is None or isinstance(value, bool):
            return simple[value]
        if isinstance(value, Shared):
            return self.shared(value)
        method = getattr(self, f"write_{type(value).__name__.lower()}")
        return method(value)

    def shared(self, value: Shared) -> bytes:
        if value.index is None:
            content = self.write(value.value)
            value.index = self.stored
            self.stored += 1
            return content + b"r" + struct.pack("<I", value.index)
        return b"j" + struct.pack("<I", value.index)

    def write_int(self, value: int) -> bytes:
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(content)]) + content

    def write_float(self, value: float) -> bytes:
        return b"G" + struct.pack(">d", value)

    def write_str(self, value: str) -> bytes:
        content = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(content)) + content

    def write_bytes(self, value: bytes) -> bytes:
        return b"B" + struct.pack("<I", len(value)) + value

    def write_tuple(self, value: tuple) -> bytes:
        return b"(" + b"".join(map(self.write, value)) + b"t"

    def write_list(self, value: list) -> bytes:
        return b"](" + b"".join(map(self.write, value)) + b"e"

    def pairs(self, items) -> bytes:
        return b"(" + b"".join(self.write(key) + self.write(content) for key, content in items) + b"u"

    def write_dict(self, value: dict) -> bytes:
        return b"}" + self.pairs(value.items())

    def write_global(self, value: Global) -> bytes:
        if value.stack:
            return self.write(value.module) + self.write(value.name) + b"\x93"
        return f"c{value.module}\n{value.name}\n".encode()

    def write_call(self, value: Call) -> bytes:
        made = self.write(value.function) + self.write(value.arguments) + (b"\x81" if value.new else b"R")
        made += self.pairs(value.items) if value.items else b""
        return made + (self.write(value.state) + b"b" if value.state is not None else b"")

    def write_reference(self, value: Reference) -> bytes:
        return self.write(value.identifier) + b"Q"

    def write_raw(self, value: Raw) -> bytes:
        return value.opcodes
