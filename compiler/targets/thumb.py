"""
Reads Thumb-2 machine code, as far as it moves the stack pointer or calls: how deep a call can go.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from compiler.targets.elf import File, Symbol

_RETURN = 14
"""The register that holds where a function returns to."""


@dataclass(frozen=True)
class Frame:
    """
    What a function takes of the stack by itself, and where it goes.
    """

    size: int
    """Bytes."""
    called: frozenset[int]
    """The addresses that it calls or jumps to."""
    open_ended: bool
    """Whether it takes or calls something, too, that is known only when it runs."""


def deepest(file: File, name: str) -> int | None:
    """
    The most bytes of the stack that a call of a function takes; None if the code doesn't tell.

    Args:
        file: a linked program with symbols, without recursion.
        name: the function.
    """
    frames = {symbol.address: frame_of(file, symbol) for symbol in file.symbols if symbol.is_function and symbol.size}

    @cache
    def depth(address: int) -> int | None:
        frame = frames.get(address)
        if frame is None or frame.open_ended:
            return None
        below = [depth(place) for place in frame.called]
        known = [bytes_ for bytes_ in below if bytes_ is not None]
        return None if len(known) < len(below) else frame.size + max(known, default=0)

    return depth(file.symbol(name).address)


def frame_of(file: File, function: Symbol) -> Frame:
    """
    Reads a function of a linked program.
    """
    first, last = function.address, function.address + function.size
    size, called, open_ended = 0, set[int](), False
    for place, word in instructions(file, function):
        size += _taken(word)
        target = _target(place, word)
        if target is not None and not first <= target < last:
            called.add(target)
        open_ended = open_ended or _is_open_ended(word)
    return Frame(size, frozenset(called), open_ended)


def instructions(file: File, function: Symbol) -> Iterator[tuple[int, int]]:
    """
    The instructions of a function and where they stand, without the constants between them.

    Those of 32 bits have their first half on top.
    """
    section = file.sections[function.section]
    place, end, inside = function.address, function.address + function.size, True
    # Symbols tell code from constants: $t begins the one, $d the other.
    marks = {
        s.address: s.name[1] == "t"
        for s in file.symbols
        if s.name[:2] in ("$t", "$d") and section is file.sections[s.section]
    }
    while place < end:
        inside = marks.get(place, inside)
        (word,) = struct.unpack_from("<H", section.data, place - section.address)
        length = 4 if inside and word >= 0xE800 else 2
        if length == 4:
            word = word << 16 | struct.unpack_from("<H", section.data, place + 2 - section.address)[0]
        if inside:
            yield place, word
        place += length


def _taken(word: int) -> int:
    """
    The bytes by which an instruction moves the stack pointer down. Only prologues do.
    """
    match word >> 24 if word > 0xFFFF else 0:
        case 0:
            if word & 0xFE00 == 0xB400:  # push {..}
                return 4 * (word & 0x1FF).bit_count()
            return 4 * (word & 0x7F) if word & 0xFF80 == 0xB080 else 0  # sub sp, #..
        case 0xE9 if word >> 16 == 0xE92D:  # push.w {..}
            return 4 * (word & 0xFFFF).bit_count()
        case 0xF8 if word & 0xFFFF0FFF == 0xF84D0D04:  # str .., [sp, #-4]!
            return 4
        case 0xED if word & 0xFFBF0E00 == 0xED2D0A00:  # vpush {..}
            return 4 * (word & 0xFF)
        case 0xF1 | 0xF2 | 0xF5 | 0xF6 if word & 0xFBE08F00 in (0xF1A00D00, 0xF2A00D00):  # sub.w or subw sp, .., #..
            number = (word >> 15 & 0x800) | (word >> 4 & 0x700) | word & 0xFF
            return (number if word >> 24 & 0x2 else _constant(number)) if word >> 16 & 0xF == 0xD else 0
    return 0


def _constant(number: int) -> int:
    """
    The constant that 12 bits of a Thumb-2 instruction mean. Source: ThumbExpandImm in the ARMv7-M manual.
    """
    low = number & 0xFF
    if number < 0x400:
        return (low, low << 16 | low, low << 24 | low << 8, low * 0x01010101)[number >> 8]
    shift, value = number >> 7, 0x80 | number & 0x7F
    return value >> shift | value << 32 - shift & 0xFFFFFFFF


def _target(place: int, word: int) -> int | None:
    """
    Where a call or a jump goes that is not conditional.
    """
    if word & 0xF800 == 0xE000 and word <= 0xFFFF:  # b
        return place + 4 + 2 * _signed(word & 0x7FF, 11)
    if word <= 0xFFFF or word & 0xF8009000 != 0xF0009000:  # bl, b.w
        return None
    sign = word >> 26 & 1
    bits = sign << 23 | (1 ^ word >> 13 & 1 ^ sign) << 22 | (1 ^ word >> 11 & 1 ^ sign) << 21
    return place + 4 + 2 * _signed(bits | (word >> 16 & 0x3FF) << 11 | word & 0x7FF, 24)


def _signed(number: int, bits: int) -> int:
    return number - (number >> bits - 1 << bits)


def _is_open_ended(word: int) -> bool:
    """
    Whether an instruction calls what is in a register, other than to return, or takes as much stack as one says.
    """
    if word <= 0xFFFF:
        return word & 0xFF07 == 0x4700 and word >> 3 & 0xF != _RETURN  # bx or blx
    return word & 0xFFFF8F00 == 0xEBAD0D00  # sub.w sp, sp, ..
