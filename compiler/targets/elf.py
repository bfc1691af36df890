"""
Reads 32-bit little-endian ELF files, which is what linkers make for microcontrollers: sections and symbols.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

ALLOCATED, WRITABLE, EXECUTABLE = 2, 1, 4
"""Flags of sections: what is loaded, what is in RAM, what is code."""

_SECTION, _SYMBOL = struct.Struct("<10I"), struct.Struct("<3I2BH")
_SYMBOLS, _NO_BITS = 2, 8
_FUNCTION = 2


@dataclass(frozen=True)
class Section:
    """
    A section; `data` is empty for one that is nothing but zeros.
    """

    name: str
    flags: int
    address: int
    size: int
    data: bytes


@dataclass(frozen=True)
class Symbol:
    """
    A name of a place. Of functions in Thumb code, the last bit of the address is cleared.
    """

    name: str
    address: int
    size: int
    is_function: bool
    section: int
    """0 if it is undefined."""


@dataclass(frozen=True)
class File:
    """
    What is in a file.
    """

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]

    @property
    def undefined(self) -> list[str]:
        """
        The names that another file has to define.
        """
        return sorted(symbol.name for symbol in self.symbols if symbol.name and not symbol.section)

    def symbol(self, name: str) -> Symbol:
        """
        The symbol of a name.
        """
        return next(symbol for symbol in self.symbols if symbol.name == name)


def read(data: bytes) -> File:
    """
    Reads a file.
    """
    (start,) = struct.unpack_from("<I", data, 32)
    size, count, names = struct.unpack_from("<3H", data, 46)
    headers = [_SECTION.unpack_from(data, start + number * size) for number in range(count)]
    texts = [_contents(data, header) for header in headers]
    sections = tuple(
        Section(_name(texts[names], header[0]), header[2], header[3], header[5], text)
        for header, text in zip(headers, texts, strict=True)
    )
    symbols = tuple(
        symbol
        for header, text in zip(headers, texts, strict=True)
        if header[1] == _SYMBOLS
        for symbol in _symbols(text, texts[header[6]])
    )
    return File(sections, symbols)


def _contents(data: bytes, header: tuple[int, ...]) -> bytes:
    return b"" if header[1] == _NO_BITS else data[header[4] : header[4] + header[5]]


def _symbols(table: bytes, names: bytes) -> Iterator[Symbol]:
    for name, value, size, info, _, section in _SYMBOL.iter_unpack(table):
        is_function = info & 15 == _FUNCTION
        yield Symbol(_name(names, name), value & ~1 if is_function else value, size, is_function, section)


def _name(names: bytes, start: int) -> str:
    return names[start : names.index(b"\0", start)].decode("ascii", "replace")
