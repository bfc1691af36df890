"""
An inert pickle machine: it decodes a pickle into plain values and records, and imports and calls nothing.

It knows the 46 opcodes that policies, their state dicts and their normalisation statistics hold. What is missing is
left out on purpose: POP_MARK and DUP, and POP but for what cloudpickle discards, so that nothing can be asked for and
then hidden; the text opcodes of protocol 0; INST and OBJ, which call; EXT1 to EXT4, which name globals by number;
out-of-band buffers. The opcodes are specified in the comments of CPython's Lib/pickletools.py.
"""

import struct
from collections.abc import Callable
from typing import NoReturn

from compiler.errors import CheckpointError, quote
from compiler.readers.limits import DEFAULT, Limits
from compiler.readers.symbols import Call, Persistent, Symbol, describe, excess, globals_of, is_key, mapping

__all__ = ["Call", "Persistent", "Symbol", "decode", "decode_prefix", "describe", "globals_of", "mapping"]

LONGEST_NAME = 1024
STOP = ord(".")
CLOUDPICKLE = ("cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast")
DISCARDED = ("_function_setstate", "_class_setstate")
"""What cloudpickle calls for its effect on a function or class, which stays behind as a call that nobody knows."""

EXCLUDED = {
    b"1": "POP_MARK", b"2": "DUP", b"I": "INT", b"L": "LONG", b"F": "FLOAT",
    b"S": "STRING", b"T": "BINSTRING", b"U": "SHORT_BINSTRING", b"V": "UNICODE", b"P": "PERSID", b"g": "GET",
    b"p": "PUT", b"l": "LIST", b"d": "DICT", b"i": "INST", b"o": "OBJ", b"\x82": "EXT1", b"\x83": "EXT2",
    b"\x84": "EXT4", b"\x8b": "LONG4", b"\x97": "NEXT_BUFFER", b"\x98": "READONLY_BUFFER",
}  # fmt: skip


def decode(data: bytes | memoryview, where: str, limits: Limits = DEFAULT) -> object:
    """
    Decode one pickle that takes up all of `data`.

    Args:
        data: from the first opcode to STOP.
        where: the file and the member, for messages.
        limits: bounds on what it may ask for.

    Returns:
        None, bool, int, float, str, bytes (also for a bytearray), tuple, list, dict, set, frozenset, `Symbol`, `Call`,
        `Persistent`; keys and set members are None, bool, int, str or bytes. Nothing contains itself, and a recursive
        walk is cheap.

    Raises:
        CheckpointError: an opcode is unknown or damaged, a limit is exceeded, or bytes follow STOP.
    """
    value, end = decode_prefix(data, where, limits)
    if end != len(data):
        raise CheckpointError(
            where, f"{len(data) - end:,} bytes follow the end of the pickle; it holds {describe(value)}"
        )
    return value


def decode_prefix(data: bytes | memoryview, where: str, limits: Limits = DEFAULT) -> tuple[object, int]:
    """
    Decode the pickle that `data` begins with; as `decode`, and also where it ended, in bytes.
    """
    machine = _Machine(memoryview(data), where, limits)
    value = machine.run()
    trouble = excess(value, limits.leaves, limits.depth)
    if trouble is not None:
        raise CheckpointError(where, f"holds a pickle of {describe(value)} that {trouble}")
    return value, machine.position


class _Machine:
    """
    The state of one decoding: the stack, where its marks are, and the memo.
    """

    def __init__(self, data: memoryview, where: str, limits: Limits) -> None:
        self.data = data
        self.where = where
        self.position = 0
        self.opcodes_left = limits.opcodes
        self.literals_left = limits.literal_bytes
        self.stack: list[object] = []
        self.marks: list[int] = []
        # A dict: the index of a memo entry is the file's choice, and a list would have to be that long.
        self.memo: dict[int, object] = {}
        self.named: Symbol | None = None

    def run(self) -> object:
        while True:
            opcode = self.integer(1)
            if opcode == STOP:
                break
            if self.opcodes_left == 0:
                self.refuse("has too many opcodes")
            self.opcodes_left -= 1
            operation = OPERATIONS.get(opcode)
            if operation is None:
                self.refuse_opcode(opcode)
            operation(self)
        if len(self.stack) != 1 or self.marks:
            self.refuse("does not end with one value")
        return self.stack[0]

    def refuse(self, text: str) -> NoReturn:
        last = "" if self.named is None else f" (the last global that it names is {quote(self.named.path)})"
        raise CheckpointError(self.where, f"the pickle {text}, at byte {self.position:,}{last}")

    def refuse_opcode(self, opcode: int) -> NoReturn:
        if opcode == ord("i"):
            self.named = Symbol(self.line(), self.line())
        if opcode == ord("o") and self.marks:
            self.refuse(f"calls {describe(self.stack[self.marks[-1] :])} with the opcode OBJ, which no policy needs")
        name = EXCLUDED.get(bytes([opcode]))
        self.refuse(f"has the opcode {name}, which no policy needs" if name else f"has an unknown opcode {opcode:#04x}")

    # Reading operands.

    def take(self, length: int) -> memoryview:
        end = self.position + length
        if end > len(self.data):
            self.refuse("is truncated")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def integer(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def literal(self, length: int) -> memoryview:
        if length > self.literals_left:
            self.refuse("has more bytes of strings than a policy needs")
        self.literals_left -= length
        return self.take(length)

    def text(self, length: int) -> str:
        try:
            return str(self.literal(length), "utf-8")
        except UnicodeDecodeError:
            self.refuse("has a string that is not UTF-8")

    def line(self) -> str:
        content = bytes(self.data[self.position : self.position + LONGEST_NAME])
        length = content.find(b"\n")
        if length < 0:
            self.refuse("has a name that does not end")
        text = self.text(length)
        self.position += 1
        return text

    # The stack.

    def pop(self) -> object:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            self.refuse("takes a value from an empty stack")
        return self.stack.pop()

    def top(self) -> object:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            self.refuse("uses a value of an empty stack")
        return self.stack[-1]

    def pop_to_mark(self) -> list[object]:
        if not self.marks:
            self.refuse("closes a group that it did not open")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def pop_arguments(self) -> tuple[object, ...]:
        arguments = self.pop()
        if not isinstance(arguments, tuple):
            self.refuse("calls with arguments that are not a tuple")
        return arguments

    def discard(self) -> None:
        value = self.pop()
        function = value.function if isinstance(value, Call) else None
        if not isinstance(function, Symbol) or function.name not in DISCARDED or function.module not in CLOUDPICKLE:
            self.refuse(f"discards {describe(value)}")

    # Operations with more to them than one line.

    def protocol(self) -> None:
        version = self.integer(1)
        if self.position != 2 or not 2 <= version <= 5:
            self.refuse(f"has protocol {version} where 2 to 5 is expected, at its beginning only")

    def frame(self) -> None:
        if self.integer(8) > len(self.data) - self.position:
            self.refuse("is truncated: it has a frame that is longer than the rest")

    def append(self, values: list[object]) -> None:
        target = self.top()
        if isinstance(target, Call):
            target.appends += values
        elif isinstance(target, list):
            target += values
        else:
            self.refuse(f"appends to {describe(target)}")

    def set_items(self, values: list[object]) -> None:
        target = self.top()
        if len(values) % 2:
            self.refuse("sets a key without a value")
        pairs = list(zip(values[::2], values[1::2], strict=True))
        if isinstance(target, Call):
            target.items += pairs
            return
        if not isinstance(target, dict):
            self.refuse(f"sets items of {describe(target)}")
        for key, value in pairs:
            if not is_key(key):
                self.refuse(f"uses {describe(key)} as a key; only short scalars can be one")
            if key in target:
                self.refuse(f"sets the key {describe(key)} twice")
            target[key] = value

    def add_items(self) -> None:
        members = self.members()
        target = self.top()
        if not isinstance(target, set):
            self.refuse(f"adds set members to {describe(target)}")
        target |= members

    def members(self) -> frozenset[object]:
        values = self.pop_to_mark()
        for value in values:
            if not is_key(value):
                self.refuse(f"has {describe(value)} in a set; only short scalars can be in one")
        return frozenset(values)

    def set_state(self) -> None:
        state = self.pop()
        target = self.top()
        if not isinstance(target, Call):
            self.refuse(f"sets the state of {describe(target)}")
        if target.state is not None:
            self.refuse(f"sets the state of {describe(target)} twice")
        target.state = state

    def symbol(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            self.refuse("names a global by something else than two strings")
        if len(module) + len(name) > LONGEST_NAME:
            self.refuse("names a global with a name that is too long")
        self.named = Symbol(module, name)
        self.stack.append(self.named)

    def stack_symbol(self) -> None:
        name = self.pop()
        self.symbol(self.pop(), name)

    def call(self, arguments: tuple[object, ...], keywords: dict[str, object] | None = None) -> None:
        function = self.pop()
        # torch's old streams call the class of a module that they refer to by a persistent id.
        if not isinstance(function, (Symbol, Call, Persistent)):
            self.refuse(f"calls {describe(function)}")
        self.stack.append(Call(function, arguments, keywords))

    def call_with_keywords(self) -> None:
        given = self.pop()
        keywords: dict[str, object] = {}
        for name, value in given.items() if isinstance(given, dict) else [(None, None)]:
            if not isinstance(name, str):
                self.refuse("calls with keywords that are not a dict of names")
            keywords[name] = value
        self.call(self.pop_arguments(), keywords)

    def group(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def store(self, index: int) -> None:
        if index in self.memo:
            self.refuse(f"stores memo entry {index} twice")
        self.memo[index] = self.top()

    def fetch(self, index: int) -> None:
        if index not in self.memo:
            self.refuse(f"fetches memo entry {index}, which it never stored")
        self.stack.append(self.memo[index])


def _push(make: Callable[[_Machine], object]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(make(machine))


def _signed(machine: _Machine, length: int) -> int:
    return int.from_bytes(machine.take(length), "little", signed=True)


OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    ord(code): operation
    for code, operation in {
        # Framing and marks; STOP is in `run`.
        b"\x80": _Machine.protocol,
        b"\x95": _Machine.frame,
        b"(": lambda machine: machine.marks.append(len(machine.stack)),
        b"0": _Machine.discard,
        # Scalars.
        b"N": _push(lambda machine: None),
        b"\x88": _push(lambda machine: True),
        b"\x89": _push(lambda machine: False),
        b"J": _push(lambda machine: _signed(machine, 4)),
        b"K": _push(lambda machine: machine.integer(1)),
        b"M": _push(lambda machine: machine.integer(2)),
        b"\x8a": _push(lambda machine: _signed(machine, machine.integer(1))),
        b"G": _push(lambda machine: struct.unpack(">d", machine.take(8))[0]),
        b"\x8c": _push(lambda machine: machine.text(machine.integer(1))),
        b"X": _push(lambda machine: machine.text(machine.integer(4))),
        b"\x8d": _push(lambda machine: machine.text(machine.integer(8))),
        b"C": _push(lambda machine: bytes(machine.literal(machine.integer(1)))),
        b"B": _push(lambda machine: bytes(machine.literal(machine.integer(4)))),
        b"\x8e": _push(lambda machine: bytes(machine.literal(machine.integer(8)))),
        b"\x96": _push(lambda machine: bytes(machine.literal(machine.integer(8)))),
        # Containers.
        b")": _push(lambda machine: ()),
        b"\x85": lambda machine: machine.group(1),
        b"\x86": lambda machine: machine.group(2),
        b"\x87": lambda machine: machine.group(3),
        b"t": lambda machine: machine.stack.append(tuple(machine.pop_to_mark())),
        b"]": _push(lambda machine: []),
        b"a": lambda machine: machine.append([machine.pop()]),
        b"e": lambda machine: machine.append(machine.pop_to_mark()),
        b"}": _push(lambda machine: {}),
        b"s": lambda machine: machine.set_items([machine.pop(), machine.pop()][::-1]),
        b"u": lambda machine: machine.set_items(machine.pop_to_mark()),
        b"\x8f": _push(lambda machine: set()),
        b"\x90": _Machine.add_items,
        b"\x91": _push(_Machine.members),
        # What would import and call.
        b"c": lambda machine: machine.symbol(machine.line(), machine.line()),
        b"\x93": _Machine.stack_symbol,
        b"R": lambda machine: machine.call(machine.pop_arguments()),
        b"\x81": lambda machine: machine.call(machine.pop_arguments()),
        b"\x92": _Machine.call_with_keywords,
        b"b": _Machine.set_state,
        b"Q": _push(lambda machine: Persistent(machine.pop())),
        # The memo.
        b"\x94": lambda machine: machine.store(len(machine.memo)),
        b"q": lambda machine: machine.store(machine.integer(1)),
        b"r": lambda machine: machine.store(machine.integer(4)),
        b"h": lambda machine: machine.fetch(machine.integer(1)),
        b"j": lambda machine: machine.fetch(machine.integer(4)),
    }.items()
}
