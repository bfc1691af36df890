"""
The options of `BuildOptions` as they were given.
"""

from typing import Any

import click

from compiler.errors import BuildError
from compiler.options import BuildOptions
from compiler.pipeline import options_from


def chosen(values: dict[str, Any]) -> BuildOptions:
    """
    The options that a command was given.

    Raises:
        click.UsageError: for a value that an option can't have.
    """
    try:
        return options_from(values)
    except BuildError as error:
        raise click.UsageError("; ".join(error.findings)) from None
