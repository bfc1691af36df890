"""
What all commands share: options, forms of output, exit statuses.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

INTERNAL_ERROR, REFUSED, INTERRUPTED = 1, 3, 130

TRACEBACK: Final = "policyc.traceback"
"""Where the context remembers that errors are shown with the place where they were raised."""

# Whether the file can be read is the reader's to say; click would refuse names that are not text.
FILE = click.Path(path_type=Path)

Command = TypeVar("Command", bound=Callable[..., Any])


def _remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[TRACEBACK] = ctx.meta.get(TRACEBACK, False) or value


def common(command: Command) -> Command:
    """
    Adds the options that every command has.
    """
    with_traceback = click.option(
        "--traceback", is_flag=True, expose_value=False, callback=_remember, help="Show where an error was raised."
    )
    return with_traceback(click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command))


def print_json(content: Any) -> None:
    """
    One document on standard output, in ASCII.
    """
    click.echo(json.dumps(content, indent=2))


def printable(text: str) -> str:
    """
    Lines of text in which only characters that can be seen are left as they are.
    """
    return "".join(
        character if character.isprintable() or character == "\n" else ascii(character)[1:-1] for character in text
    )
