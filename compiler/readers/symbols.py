"""
What a pickle turns into when nothing in it is imported or called: plain containers, and records of what it asks for.

Every walk here is iterative and meets a shared value once, so that no nesting and no sharing can make it expensive.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from compiler.errors import CheckpointError, quote

CHARACTERS_PER_LEAF = 256
SHOWN = 100
"""Characters of a text that may enter a message; cut before quoting, which takes time and memory."""
LARGEST_KEY = 1 << 60
"""Integers of less magnitude are their own hash: no set of keys can be made to collide."""


@dataclass(frozen=True)
class Symbol:
    """
    A global that a pickle names.
    """

    module: str
    name: str

    @property
    def path(self) -> str:
        """
        The module and the name, joined by a dot.
        """
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Persistent:
    """
    A reference to something outside the pickle; torch refers to its storages so.
    """

    identifier: object


class Call:
    """
    A call that a pickle asks for, recorded and never made; equal only to itself.

    Attributes:
        function: a `Symbol`, another `Call`, or a `Persistent` (torch's old streams).
        arguments: positional arguments.
        keywords: keyword arguments (NEWOBJ_EX only).
        state: what the result's `__setstate__` or `__dict__` would get, or None.
        items: key and value pairs that would be set on the result, in order.
        appends: what would be appended to the result, in order.
    """

    __slots__ = ("appends", "arguments", "function", "items", "keywords", "state")

    def __init__(
        self, function: object, arguments: tuple[object, ...], keywords: dict[str, object] | None = None
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.keywords = {} if keywords is None else keywords
        self.state: object | None = None
        self.items: list[tuple[object, object]] = []
        self.appends: list[object] = []

    def __repr__(self) -> str:
        return f"<call of {describe_function(self.function)}>"


BRANCHES = (tuple, list, set, frozenset, dict, Call, Persistent)
"""The types of decoded values that hold others."""


def describe_function(function: object) -> str:
    """
    The path of what is called; for the result of another call, the path of that one's function.
    """
    while isinstance(function, Call):
        function = function.function
    return quote(function.path) if isinstance(function, Symbol) else "something that is not a global"


def describe(value: object) -> str:
    """
    What a decoded value is, in a few words for a message, naming every global in it (the first eight).
    """
    if isinstance(value, (str, bytes)):
        return f"{type(value).__name__} {quote(value[:SHOWN])}"
    if not isinstance(value, (Symbol, *BRANCHES)):
        return quote(value)
    paths = globals_of(value)
    named = ", ".join(quote(path) for path in paths[:8]) + (", ..." if len(paths) > 8 else "")
    if isinstance(value, Symbol):
        return f"the global {named}"
    if isinstance(value, Call):
        what = f"an object of {describe_function(value.function)}"
        return f"{what} (it names {named})" if len(paths) > 1 else what
    what = "a reference to a storage" if isinstance(value, Persistent) else f"a {type(value).__name__}"
    return f"{what} that names {named}" if paths else what


def is_key(value: object) -> bool:
    """
    Whether a value may be a dict key or a set member: a short list of scalars that hash quickly and without collisions.
    """
    if isinstance(value, int):
        return -LARGEST_KEY < value < LARGEST_KEY
    return value is None or isinstance(value, (str, bytes))


def children(value: object) -> Iterable[object]:
    """
    The values directly inside a decoded value; none for a leaf.
    """
    if isinstance(value, (tuple, list, set, frozenset)):
        return value
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, Call):
        pairs = (side for pair in value.items for side in pair)
        return (value.function, *value.arguments, *value.keywords.values(), value.state, *pairs, *value.appends)
    if isinstance(value, Persistent):
        return (value.identifier,)
    return ()


def walk(root: object) -> Iterator[object]:
    """
    Every Call, Symbol, Persistent and container in a decoded value, each object once, outermost first.
    """
    seen: set[int] = set()
    pending = [root]
    while pending:
        value = pending.pop()
        if id(value) in seen or not isinstance(value, (Symbol, *BRANCHES)):
            continue
        seen.add(id(value))
        yield value
        pending.extend(reversed(tuple(children(value))))


def globals_of(value: object) -> tuple[str, ...]:
    """
    The paths of all globals in a decoded value, each once, in the order of their first appearance.
    """
    return tuple(dict.fromkeys(node.path for node in walk(value) if isinstance(node, Symbol)))


def excess(root: object, most_leaves: int, most_depth: int) -> str | None:
    """
    Why a decoded value is dangerous to walk recursively, or None if it isn't.

    It is if it contains itself, is nested deeper than `most_depth`, or has more than `most_leaves` values when shared
    ones are counted each time that they are met. Each object is visited once, so the answer takes linear time.
    """
    sizes: dict[int, tuple[int, int]] = {}
    entered: set[int] = set()
    level = 0
    pending: list[tuple[object, bool]] = [(root, False)]
    while pending:
        value, leaving = pending.pop()
        if not leaving:
            if id(value) in sizes or not isinstance(value, BRANCHES):
                continue
            if id(value) in entered:
                return "contains itself"
            level += 1
            if level > most_depth:
                return f"is nested more than {most_depth} deep"
            entered.add(id(value))
            pending.append((value, True))
            pending.extend((child, False) for child in children(value) if isinstance(child, BRANCHES))
            continue
        level -= 1
        leaves, depth = 1, 0
        if isinstance(value, dict):
            leaves += sum(_leaf(key) for key in value)
        for child in children(value):
            child_leaves, child_depth = sizes.get(id(child)) or (_leaf(child), 0)
            leaves += child_leaves
            depth = max(depth, child_depth)
        if leaves > most_leaves:
            return f"has more than {most_leaves:,} leaves once shared values are counted each time"
        if depth + 1 > most_depth:
            return f"is nested more than {most_depth} deep"
        sizes[id(value)] = (leaves, depth + 1)
    return None


def _leaf(value: object) -> int:
    return 1 + len(value) // CHARACTERS_PER_LEAF if isinstance(value, (str, bytes)) else 1


def mapping(value: object, where: str) -> dict[object, object]:
    """
    A dict from a decoded dict or `collections.OrderedDict`.

    Args:
        value: a dict, or a Call of `collections.OrderedDict` with its items set or given as a list of pairs.
        where: the file and the thing in it, for messages.

    Raises:
        CheckpointError: it is something else (the global is named), or a key is unfit or there twice.
    """
    if isinstance(value, dict):
        return value
    if not isinstance(value, Call) or value.function != Symbol("collections", "OrderedDict"):
        raise CheckpointError(where, f"expected a dict, found {describe(value)}")
    if value.keywords or value.appends or len(value.arguments) > 1:
        raise CheckpointError(where, "holds a damaged collections.OrderedDict")
    pairs: list[object] = [*(_pairs(value.arguments[0], where) if value.arguments else []), *value.items]
    result: dict[object, object] = {}
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise CheckpointError(where, "holds a damaged collections.OrderedDict")
        key, content = pair
        if not is_key(key):
            raise CheckpointError(where, f"holds a dict with an unfit key: {describe(key)}")
        if key in result:
            raise CheckpointError(where, f"holds a dict with the key {describe(key)} twice")
        result[key] = content
    return result


def _pairs(value: object, where: str) -> Iterable[object]:
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, (list, tuple)):
        return value
    raise CheckpointError(where, f"holds a collections.OrderedDict of {describe(value)}")
