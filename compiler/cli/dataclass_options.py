"""
Options on the command line that are the fields of a dataclass: names, types, defaults and help come from there.
"""

import ast
import inspect
import types
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def divided(
    kind: type[int] | type[float] | type[str] | type[Path], absent: Any = None
) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """
    Reads numbers, names or paths that are divided by commas, as a tuple: `3,84,84`; `absent` where not given.
    """

    def read(_: click.Context, parameter: click.Parameter, value: str | None) -> Any:
        try:
            return absent if value is None else tuple(kind(part) for part in value.split(","))
        except ValueError:
            wanted = "integers" if kind is int else "numbers"
            raise click.BadParameter(f"{value!a} is not {wanted} divided by commas", param=parameter) from None

    return read


def documentation(options: type[Any]) -> dict[str, str]:
    """
    The text under each field of a dataclass, by the field's name.
    """
    tree = ast.parse(inspect.getsource(options)).body[0]
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and documented:
            texts[statement.target.id] = inspect.cleandoc(ast.literal_eval(following.value))  # type: ignore[attr-defined]
    return texts


def flag(name: str) -> str:
    """
    How an option is spelled on the command line: `--action-low`.
    """
    return f"--{name.replace('_', '-')}"


def options_of(options: type[Any]) -> Callable[[Command], Command]:
    """
    Adds an option for each field; the command gets their values by the fields' names.
    """
    hints, texts = get_type_hints(options), documentation(options)

    def add(command: Command) -> Command:
        for option in reversed(fields(options)):
            command = _option(option, hints[option.name], texts[option.name])(command)
        return command

    return add


def _option(option: Field[Any], hint: Any, text: str) -> Callable[[Command], Command]:
    optional = get_origin(hint) in (Union, types.UnionType)
    kind = next(part for part in get_args(hint) if part is not types.NoneType) if optional else hint
    name = flag(option.name)
    settings: dict[str, Any] = {"default": option.default, "help": text}
    if kind is bool:
        name = f"{name}/{flag(f'no_{option.name}')}" if optional else name
        settings["is_flag"] = True
    elif get_origin(kind) is tuple:
        (each, _) = get_args(kind)
        settings |= {
            "default": None,
            "callback": divided(each, option.default),
            "metavar": {str: "NAME,...", Path: "FOLDER,..."}.get(each, "N,..."),
        }
    elif kind is Path:
        settings |= {"type": click.Path(path_type=Path, dir_okay=False), "metavar": "FILE"}
    else:
        settings |= {"type": kind, "show_default": option.default is not None}
    return click.option(name, option.name, **settings)
