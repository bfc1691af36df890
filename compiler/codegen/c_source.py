"""
Texts of C, in lines that are not too long.
"""

import textwrap
from collections.abc import Sequence

from compiler.codegen.source import WIDTH


def wrapped(head: str, items: Sequence[str], tail: str, indent: int = 0, width: int = WIDTH) -> str:
    """
    A declaration, a call or a list: on one line where it fits, else with its items on lines of their own.

    Args:
        head: what comes before the items, with the opening bracket.
        items: what commas separate.
        tail: what comes after them, with the closing bracket.
        indent: how far the first line is indented, which is not a part of the result.
        width: characters of a line.
    """
    line = f"{head}{', '.join(items)}{tail}"
    if indent + len(line) <= width:
        return line
    margin = " " * (indent + 4)
    lines, current = [head], ""
    for number, item in enumerate(items, 1):
        text = item + ("," if number < len(items) else tail)
        if current and len(margin) + len(current) + 1 + len(text) > width:
            lines.append(margin + current)
            current = text
        else:
            current = f"{current} {text}".lstrip()
    return "\n".join([*lines, margin + current])


def paragraph(text: str, margin: str, hanging: str = "") -> str:
    """
    Prose for a comment, in lines that begin with `margin`; all but the first with `hanging` after it.
    """
    return textwrap.fill(text, WIDTH, initial_indent=margin, subsequent_indent=margin + hanging, break_on_hyphens=False)
