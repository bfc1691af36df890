"""
How texts of a checkpoint enter generated files: as identifiers made here, as escaped literals, or as harmless comments.
"""

import builtins
import keyword
import re
from collections.abc import Iterable

LONGEST = 60
"""Characters of an identifier or of a text in a comment."""


BLOCK = "_block"
"""What the name of a kernel for a block of observations ends with."""


def kernel_names(texts: Iterable[str], reserved: Iterable[str] = ()) -> list[str]:
    """
    A valid ASCII identifier for each text, in order, distinct also from all others with `BLOCK` behind them.

    Args:
        texts: any texts, also the same one several times.
        reserved: names that mean something else where the identifiers are used.
    """
    taken = {*reserved, *keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
    names = []
    for text in texts:
        names.append(_unused(_identifier(text), taken))
        taken |= {names[-1], names[-1] + BLOCK}
    return names


def _identifier(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()[: 4 * LONGEST], flags=re.ASCII).strip("_")[:LONGEST].strip("_")
    return name if name and not name[0].isdigit() else f"layer_{name}".rstrip("_")


def _unused(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate in taken or candidate + BLOCK in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def literal(text: str) -> str:
    """
    A Python string literal in printable ASCII that is this text.
    """
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    if 32 <= code < 127 and character not in '"\\':
        return character
    if code < 256:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def c_literal(text: str) -> str:
    """
    A literal of C in printable ASCII that is this text in UTF-8.
    """
    # Octal escapes end after three digits, hexadecimal ones wherever the text goes on with something else.
    return '"' + "".join(_c_escaped(byte) for byte in text.encode("utf-8", "surrogatepass")) + '"'


def _c_escaped(byte: int) -> str:
    if not 32 <= byte < 127:
        return f"\\{byte:03o}"
    return f"\\{byte:c}" if byte in b'"\\?' else chr(byte)


def comment(text: str) -> str:
    """
    A text for a comment or docstring: letters, digits and `._:/-`, everything else as `_`, cut to a fit length.
    """
    return re.sub(r"[^A-Za-z0-9._:/ -]", "_", text[:LONGEST], flags=re.ASCII).strip() or "unnamed"
