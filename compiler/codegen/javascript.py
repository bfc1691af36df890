"""
Plain values as JavaScript and as TypeScript's types of them. Texts of a checkpoint become escaped literals here.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

WIDTH = 120
NUMBERS = "NumericArray"
"""What the types call a typed array of any numbers."""


def literal(text: str) -> str:
    """
    A string literal in printable ASCII that is this text, in JavaScript and TypeScript, also inside of a page.
    """
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    if 32 <= code < 127 and character not in '"\\<':
        return character
    if code < 256:
        return f"\\x{code:02x}"
    if code < 65536:
        return f"\\u{code:04x}"
    high, low = divmod(code - 65536, 1024)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def javascript(value: object, indent: int = 0, before: int = 0) -> str:
    """
    The source of a value made of dicts, lists, tuples, texts, numbers and None; on one line where it fits.

    Args:
        value: the value.
        indent: how far the line is indented on which the value begins.
        before: characters on that line before the value, and after it.
    """
    return _written(value, _JAVASCRIPT, WIDTH - indent - before, indent)


def typescript(value: object, indent: int = 0, before: int = 0) -> str:
    """
    The type of exactly this value, which can't be written to.
    """
    return _written(value, _TYPESCRIPT, WIDTH - indent - before, indent)


@dataclass(frozen=True)
class _Style:
    leaf: Callable[[object], str]
    name: Callable[[str], str]
    separator: str
    """Between the parts of an object."""
    readonly: str
    """Before a list."""


def _written(value: object, style: _Style, room: float, indent: int = 0) -> str:
    """
    The text of a value, on one line if that has room for it.
    """
    if not isinstance(value, dict | list | tuple):
        return style.leaf(value)
    if isinstance(value, dict):
        keys, items = [f"{style.name(str(key))}: " for key in value], list(value.values())
        opening, closing, space, separator = "{", "}", " ", style.separator
    else:
        keys, items = [""] * len(value), list(value)
        opening, closing, space, separator = f"{style.readonly}[", "]", "", ","
    if not items:
        return opening + closing
    flat = [key + _written(item, style, math.inf) for key, item in zip(keys, items, strict=True)]
    line = opening + space + f"{separator} ".join(flat) + space + closing
    if len(line) <= room:
        return line
    inner = indent + 4
    texts = [
        key + _written(item, style, WIDTH - inner - len(key) - 1, inner) for key, item in zip(keys, items, strict=True)
    ]
    lines = "".join(f"{' ' * inner}{text}{separator}\n" for text in texts)
    return f"{opening}\n{lines}{' ' * indent}{closing}"


def _value(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case int() | float():
            return repr(value)
        case _:
            return literal(str(value))


def _type(value: object) -> str:
    return "number" if isinstance(value, float) else _value(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII) and key != "__proto__" else literal(key)


def _name(key: str) -> str:
    # Written plainly, in quotes or not, this key would set the object's prototype.
    return f"[{literal(key)}]" if key == "__proto__" else _key(key)


_JAVASCRIPT = _Style(_value, _name, ",", "")
_TYPESCRIPT = _Style(_type, lambda key: f"readonly {_key(key)}", ";", "readonly ")


def nested(element: str, depth: int) -> str:
    """
    The type of arrays in arrays, so deep, of an element; of typed arrays as well.
    """
    if depth == 0:
        return element
    text = f"readonly {element}[]" if " " not in element else f"readonly ({element})[]"
    for _ in range(depth - 1):
        text = f"readonly ({text})[]"
    return f"{text} | {NUMBERS}"
