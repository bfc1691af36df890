"""
The tables of supported operations of PyTorch and ONNX: their names, and what of them is refused.

What is refused is what the translations say when they refuse it: their messages are read from their code.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

Rows = list[tuple[str, str, str]]
PLACEHOLDER = "..."
HEADINGS = {
    "translate_elementwise": "element by element",
    "translate_functions": "arcs, signs, shifts",
    "translate_shapes": "shapes",
    "translate_lookups": "lookups",
    "translate_writes": "writes by index",
    "translate_reductions": "reductions and orders",
    "translate_layers": "layers",
    "translate_convolutions": "convolutions",
    "translate_images": "images and signals",
    "translate_sequences": "recurrent layers",
    "translate_activations": "activations",
    "translate_attention": "attention",
    "translate_einsum": "einsum",
    "translate_resizing": "resizing",
}


def torch_rows() -> Rows:
    """
    Of each family of ATen operators: what it is, the overloads, and what of them is refused.

    Raises:
        ImportError: torch is not installed.
    """
    from compiler.frontends.torch_export import translations

    return [
        _row(family, [(str(op).removeprefix("aten."), made) for op, made in family.TRANSLATIONS.items()])
        for family in translations.FAMILIES
    ]


def onnx_rows() -> Rows:
    """
    The same of ONNX.

    Raises:
        ImportError: onnx is not installed.
    """
    from compiler.frontends.onnx_file import translations

    return [_row(family, family.TRANSLATIONS.items()) for family in translations.FAMILIES]


def opsets() -> tuple[int, int]:
    """
    The oldest opset of ONNX that is read, and the newest that the installed onnx knows.
    """
    import onnx

    from compiler.frontends.onnx_file.upgrading import OLDEST

    return OLDEST, onnx.defs.onnx_opset_version()


def _row(family: ModuleType, entries: Iterable[tuple[str, Any]]) -> tuple[str, str, str]:
    """
    One family: overloads of one operator stand together, and refusals once, with those that have them.
    """
    overloads: dict[str, list[str]] = {}
    refused: dict[str, list[str]] = {}
    for name, made in entries:
        base, _, overload = name.partition(".")
        overloads.setdefault(base, []).append(overload)
        for text in refusals(made):
            users = refused.setdefault(text, [])
            if base not in users:
                users.append(base)
    shown = [f"`{base}`" + _suffix(kinds) for base, kinds in sorted(overloads.items())]
    notes = [f"{_users(users, len(overloads))}: {text}" for text, users in sorted(refused.items())]
    return HEADINGS[family.__name__.rpartition(".")[2]], ", ".join(shown), "; ".join(notes)


def _suffix(kinds: list[str]) -> str:
    """
    The overloads of an operator, where it has others than the one that is meant without a name.
    """
    named = [kind for kind in kinds if kind]
    return f" ({', '.join(named)})" if named and named != ["default"] else ""


def _users(names: list[str], whole: int) -> str:
    return "all" if len(names) == whole > 1 else ", ".join(f"`{name}`" for name in sorted(names))


def refusals(function: Any) -> list[str]:
    """
    What a translation may say when it refuses a node, itself or by the functions of its package that it calls.
    """
    seen: set[Any] = set()
    found: dict[str, None] = {}
    waiting = [function]
    while waiting:
        current = waiting.pop()
        if not isinstance(current, FunctionType) or current in seen or not _is_translation(current):
            continue
        seen.add(current)
        found |= dict.fromkeys(_texts(current))
        waiting += _called(current)
    return list(found)


def _is_translation(function: Callable[..., Any]) -> bool:
    package, _, module = function.__module__.rpartition(".")
    return package.startswith("compiler.frontends.") and module.startswith("translate_")


def _called(function: FunctionType) -> Iterator[Any]:
    """
    What the names in a function's code stand for, in its module or in the function that made it.
    """
    names = [name for code in _codes(function.__code__) for name in code.co_names]
    yield from (function.__globals__[name] for name in names if name in function.__globals__)
    yield from (cell.cell_contents for cell in function.__closure__ or ())


def _codes(code: Any) -> Iterator[Any]:
    yield code
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from _codes(constant)


def _texts(function: FunctionType) -> Iterator[str]:
    """
    The messages of the calls of `refuse` in a function.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):  # a lambda within a dict, which refuses nothing by itself
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "refuse":
            yield _text(node.args[0], function.__globals__)


def _text(node: ast.expr, known: Mapping[str, Any]) -> str:
    """
    A message as far as it is known: constants of the module in full, what depends on the node as dots.
    """
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, known) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        node = node.value
    found = known.get(node.id) if isinstance(node, ast.Name) else None
    return str(found) if isinstance(found, str | int) else PLACEHOLDER
