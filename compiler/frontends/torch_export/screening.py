"""
A copy of a .pt2 archive that torch can load without executing anything that a stranger wrote.

`torch.export.load` evaluates expressions as Python, looks up operators by any name under `torch`, unpickles example
inputs, and compiles names into source. So it never sees the file itself: the description of the program is read here,
every text in it must be one of the few forms that torch.export writes, tensors must be stored as plain bytes, and what
is not needed (example inputs, guards, compiled code, other files) is left out.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any, NoReturn

from compiler.errors import CheckpointError, UnsupportedError, quote
from compiler.readers.archive import Archive

MOST_JSON_BYTES = 256 << 20
MOST_EXPRESSION = 500
ADVICE = "torch would execute it; if you know where the file is from, pass --trust"

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
QUALIFIED = re.compile(r"[A-Za-z0-9_.-]*")
SYMBOL = re.compile(r"[a-z]{1,4}[0-9]{1,6}")
EXPRESSION = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*|'[a-z]{1,4}[0-9]+'|[0-9]{1,19}(?:\.[0-9]+)?|[-+*/%(),<>=!&|~ ])*")
GROWING = re.compile(r"Pow|LShift|\*\*")
"""In an expression with one of these, numbers have two digits at most, and it is there once."""
FUNCTIONS = frozenset(
    word
    for words in (
        "Symbol Integer Rational Mul Add Pow Max Min Mod Eq Ne Lt Le Gt Ge And Or Not",
        "Equality Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan",
        "FloorDiv ModularIndexing Where PythonMod CleanDiv CeilToInt FloorToInt CeilDiv LShift RShift PowByNatural",
        "FloatPow FloatTrueDiv IntTrueDiv TruncToFloat TruncToInt RoundToInt RoundDecimal ToFloat Identity",
        "True False positive integer nonnegative nonzero zero negative nonpositive",
    )
    for word in words.split()
)
"""What torch writes expressions with: those of sympy, its own, and what it knows of symbols."""
OPERATOR = re.compile(
    r"torch\.ops\.(?:aten|prims)\.(?!from_file\b)[a-z0-9_]+\.[A-Za-z0-9_]+"
    r"|torch\.ops\.higher_order\.wrap_with_set_grad_enabled"
    r"|torch\.sym_(?:max|min|int|float|not|ite|sum|sqrt)|torch\._sym_sqrt"
    r"|math\.(?:ceil|floor|trunc|sqrt)"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
TREES = frozenset((None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"))
NAMES = {
    "target": OPERATOR,
    "as_operator": OPERATOR,
    "name": IDENTIFIER,
    "as_name": IDENTIFIER,
    "path_name": re.compile(r"(?:weight|tensor)_[0-9]+"),
    "parameter_name": QUALIFIED,
    "buffer_name": QUALIFIED,
    "tensor_constant_name": QUALIFIED,
    "fqn": QUALIFIED,
}
"""The texts of a program that torch looks up or compiles, by the key under which they stand."""
OBJECTS = ("as_custom_obj", "as_opaque_obj", "custom_obj", "custom_obj_name", "class_fqn")
KEPT_METADATA = ("stack_trace", "nn_module_stack")
DEVICES = ("device", "as_device")
CPU = {"type": "cpu", "index": None}
"""Where all tensors are put, wherever the program was exported."""
PAYLOAD = re.compile(r"(?:weight|tensor)_[0-9]+|model_(?:weights|constants)_config\.json")


def screened(archive: Archive, where: str) -> bytes:
    """
    The archive without anything that could be executed.

    Args:
        archive: of the program "model", as torch.export.save writes it since torch 2.8.
        where: the file, for messages.

    Raises:
        CheckpointError: the file is damaged.
        UnsupportedError: it holds what only a trusted file may.
    """
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w") as target:
        for name in archive.names:
            content = _content(archive, name, where)
            if content is not None:
                target.writestr(name, content)
    return copy.getvalue()


def _content(archive: Archive, name: str, where: str) -> bytes | None:
    """
    What the copy holds of a member; None: nothing.
    """
    _, _, path = name.partition("/")
    if path == "models/model.json":
        return _program(description(archive, name, where), where)
    if path == "data/sample_inputs/model.pt":
        return b""
    folder, _, file = path.rpartition("/")
    if folder in ("data/weights", "data/constants"):
        if not PAYLOAD.fullmatch(file):
            _refuse(where, f"holds {quote(file)}, an object or tensors in a pickle")
        if file.endswith(".json"):
            return _screened(description(archive, name, where), where)
        return bytes(archive.read(name))
    if path in ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id", "version"):
        return bytes(archive.read(name))
    return None


def description(archive: Archive, name: str, where: str) -> dict[str, Any]:
    """
    A member that is a JSON object.
    """
    if archive.size(name) > MOST_JSON_BYTES:
        raise CheckpointError(
            where, f"{quote(name)} has {archive.size(name):,} bytes; at most {MOST_JSON_BYTES:,} are read"
        )
    try:
        found = json.loads(bytes(archive.read(name)))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(where, f"{quote(name)} is not JSON: {quote(str(error))}") from None
    if not isinstance(found, dict):
        raise CheckpointError(where, f"{quote(name)} is not a JSON object")
    return found


def _program(program: dict[str, Any], where: str) -> bytes:
    program["guards_code"] = []
    for symbol in program.get("range_constraints") or {}:
        if not SYMBOL.fullmatch(symbol):
            _expression(symbol, where)
    return _screened(program, where)


def _screened(value: dict[str, Any], where: str) -> bytes:
    for key, text in _entries(value):
        if key in OBJECTS and text:
            _refuse(where, "holds an object of a class")
        if key == "use_pickle" and text is not False:
            _refuse(where, "holds tensors in a pickle")
        if key == "expr_str":
            _expression(text, where)
        elif key in ("in_spec", "out_spec"):
            _tree(text, where)
        elif key in NAMES and isinstance(text, str) and not NAMES[key].fullmatch(text):
            _refuse(where, f"holds the {key.replace('_', ' ')} {quote(text)}")
    return json.dumps(value).encode()


def _entries(value: object) -> Iterator[tuple[str, Any]]:
    """
    Every key of every object in a JSON value, with what stands there.

    Metadata that is not needed is taken out, and all tensors are put on the CPU.
    """
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            metadata = found.get("metadata")
            if isinstance(metadata, dict):
                found["metadata"] = {key: text for key, text in metadata.items() if key in KEPT_METADATA}
            found.update({key: dict(CPU) for key in DEVICES if isinstance(found.get(key), dict)})
            yield from found.items()
            waiting += found.values()


def _expression(text: object, where: str) -> None:
    """
    Refuses an expression that is not arithmetic of symbols.
    """
    if not isinstance(text, str) or len(text) > MOST_EXPRESSION or not EXPRESSION.fullmatch(text):
        _refuse(where, f"holds the expression {quote(text)}")
    if GROWING.search(text) and (len(GROWING.findall(text)) > 1 or re.search("[0-9]{3}", text)):
        _refuse(where, f"holds the expression {quote(text)}")
    for word in IDENTIFIER.findall(text):
        if word not in FUNCTIONS and not SYMBOL.fullmatch(word):
            _refuse(where, f"holds the expression {quote(text)}")


def _tree(text: object, where: str) -> None:
    """
    Refuses arguments and results that are not made of tuples, lists and dicts.
    """
    if text is None:
        return
    try:
        tree = json.loads(str(text))
        # Contexts are JSON in JSON, in which torch imports what an enumeration names.
        if "enum" in str(text) or "\\u" in str(text):
            _refuse(where, f"takes or returns {quote(text)}")
    except (ValueError, RecursionError):
        raise CheckpointError(where, "does not say how its inputs are nested") from None
    for key, value in _entries(tree):
        if key == "type" and value not in TREES:
            _refuse(where, f"takes or returns {quote(value)}, which is neither tuple, list nor dict")


def _refuse(where: str, finding: str) -> NoReturn:
    raise UnsupportedError(where, f"{finding}: {ADVICE}")
