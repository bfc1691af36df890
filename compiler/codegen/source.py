"""
Plain values as Python source, in the layout that a formatter would give them.
"""

import math

from compiler.codegen.naming import literal

WIDTH = 120


def call(function: str, arguments: list[str], indent: int = 4, after: int = 0) -> str:
    """
    The source of a call, over several lines if it does not fit on one, `after` which come so many characters.
    """
    inside = ", ".join(arguments)
    if indent + len(function) + len(inside) + 2 + after <= WIDTH:
        return f"{function}({inside})"
    margin = " " * (indent + 4)
    if len(margin) + len(inside) <= WIDTH:
        return f"{function}(\n{margin}{inside}\n{' ' * indent})"
    return f"{function}(\n" + "".join(f"{margin}{argument},\n" for argument in arguments) + " " * indent + ")"


def define(name: str, parameters: list[str], result: str) -> str:
    """
    The first line of a function, over several lines if it does not fit on one.
    """
    inside = ", ".join(parameters)
    line = f"def {name}({inside}) -> {result}:"
    if len(line) <= WIDTH:
        return line
    if len(inside) + 4 <= WIDTH:
        return f"def {name}(\n    {inside}\n) -> {result}:"
    return f"def {name}(\n" + "".join(f"    {parameter},\n" for parameter in parameters) + f") -> {result}:"


def importing(module: str, names: list[str], indent: int = 0) -> str:
    """
    The statement that imports names, over several lines if it does not fit on one.
    """
    line = f"from {module} import {', '.join(names)}"
    if indent + len(line) <= WIDTH:
        return line
    margin = " " * (indent + 4)
    return f"from {module} import (\n" + "".join(f"{margin}{name},\n" for name in names) + " " * indent + ")"


def import_order(name: str) -> tuple[bool, bool, str]:
    """
    What sorts names as import sorters do: constants, then classes, then functions.
    """
    return not name.isupper(), not name[0].isupper(), name


def python(value: object, indent: int = 0, before: int = 0) -> str:
    """
    The source of a value made of dicts, lists, tuples, texts, numbers and None; on one line where it fits.

    Args:
        value: the value.
        indent: how far the line is indented on which the value begins.
        before: characters on that line before the value, and after it.
    """
    line = _line(value)
    if len(line) + indent + before <= WIDTH or not isinstance(value, dict | list | tuple) or not value:
        return line
    margin = " " * (indent + 4)
    if isinstance(value, dict):
        keys = [literal(str(key)) + ": " for key in value]
        items = [key + python(item, indent + 4, len(key) + 1) for key, item in zip(keys, value.values(), strict=True)]
    else:
        items = [python(item, indent + 4, 1) for item in value]
    opening, closing = {dict: ("{", "}"), list: ("[", "]"), tuple: ("(", ")")}[type(value)]
    return f"{opening}\n" + "".join(f"{margin}{item},\n" for item in items) + " " * indent + closing


def _line(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{literal(str(key))}: {_line(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_line, value)) + "]"
        case tuple():
            return f"({_line(value[0])},)" if len(value) == 1 else "(" + ", ".join(map(_line, value)) + ")"
        case str():
            return literal(value)
        case float() if not math.isfinite(value):
            return f'float("{value}")'
        case _:
            return repr(value)


def unpacked(names: list[str]) -> str:
    """
    The left side of an assignment of a tuple.
    """
    plain = ", ".join(names)
    return plain if len(names) > 1 and len(plain) < 90 else tuple_source(names, 20)


def tuple_source(items: list[str], before: int, indent: int = 4) -> str:
    """
    A tuple, over several lines if it does not fit on one that is indented and has `before` characters before it.
    """
    if len(items) == 1:
        return f"({items[0]},)"
    line = f"({', '.join(items)})"
    if indent + before + len(line) <= WIDTH:
        return line
    margin = " " * (indent + 4)
    return "(\n" + "".join(f"{margin}{item},\n" for item in items) + " " * indent + ")"
