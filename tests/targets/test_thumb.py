"""
What is read off Thumb-2 machine code.
"""

import struct

import pytest

from compiler.targets.elf import EXECUTABLE, File, Section, Symbol
from compiler.targets.thumb import deepest, frame_of

FIRST, SECOND, THIRD = 0x1000, 0x1100, 0x1200
RETURN = 0x4770


def code(*halves: int) -> bytes:
    return struct.pack(f"<{len(halves)}H", *halves)


def program(**functions: bytes) -> File:
    """
    Functions at 0x1000, 0x1100 and so on.
    """
    data = b"".join(text.ljust(0x100, b"\0") for text in functions.values())
    places = [FIRST + 0x100 * number for number in range(len(functions))]
    symbols = [
        Symbol(name, place, len(text), True, 0) for place, (name, text) in zip(places, functions.items(), strict=True)
    ]
    return File((Section(".text", EXECUTABLE, FIRST, len(data), data),), tuple(symbols))


@pytest.mark.parametrize(
    ("halves", "size"),
    [
        ((0xB530,), 12),  # push {r4, r5, lr}
        ((0xE92D, 0x4FF0), 36),  # push.w {r4-r11, lr}
        ((0xF84D, 0x0D04), 4),  # str r0, [sp, #-4]!
        ((0xED2D, 0x8B10), 64),  # vpush {d8-d15}
        ((0xB094,), 80),  # sub sp, #80
        ((0xF5AD, 0x6D80), 1024),  # sub.w sp, sp, #1024
        ((0xF2AD, 0x5D14), 1300),  # subw sp, sp, #1300
        ((0xF6AD, 0x7DA0), 4000),  # subw sp, sp, #4000
        ((0xF1A7, 0x0D10), 0),  # sub.w sp, r7, #16: the end of a function
        ((0xB005, 0xBD30), 0),  # add sp, #20; pop {r4, r5, pc}
        ((0xB530, 0xB094, 0x4620, 0xB014, 0xBD30), 92),
    ],
)
def test_a_function_takes_what_its_first_instructions_say(halves, size):
    made = program(it=code(*halves, RETURN))
    frame = frame_of(made, made.symbol("it"))
    assert (frame.size, frame.called, frame.open_ended) == (size, frozenset(), False)


@pytest.mark.parametrize("jump", [(0xF000, 0xF87E), (0xF000, 0xB87E), (0xE07E,)])
def test_a_call_takes_what_the_deepest_way_takes(jump):
    """
    A call, a jump to another function, and a short one.
    """
    made = program(
        it=code(*jump, 0xB094, RETURN),
        other=code(0xB530, 0xF000, 0xF87D, 0xBD30),
        last=code(0xB084, RETURN),
    )
    assert deepest(made, "it") == 80 + 12 + 16
    assert deepest(made, "last") == 16


@pytest.mark.parametrize("halves", [(0x4798,), (0x4718,), (0xEBAD, 0x0D04), (0xF000, 0xFBFE)])
def test_what_is_known_only_when_it_runs_has_no_figure(halves):
    """
    A call and a jump to what is in a register, as much stack as one says, a call of what is not there.
    """
    assert deepest(program(it=code(*halves, RETURN)), "it") is None


def test_constants_between_instructions_are_none():
    made = program(it=code(0xB094, 0xB094, 0xB094, RETURN))
    marks = [
        Symbol("$t", FIRST, 0, False, 0),
        Symbol("$d", FIRST + 2, 0, False, 0),
        Symbol("$t.1", FIRST + 4, 0, False, 0),
    ]
    marked = File(made.sections, (*made.symbols, *marks))
    assert deepest(marked, "it") == 160
