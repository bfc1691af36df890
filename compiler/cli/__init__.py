"""
policyc on the command line: parses, calls, prints, sets the exit status.

Exit status: 0; 1 for an error in policyc itself; 2 for wrong usage; 3 for whatever policyc refuses (`PolicycError`);
130 after Ctrl-C.
"""

import importlib
import sys
import traceback
from typing import Any, Final

import click

from compiler import __version__
from compiler.cli.common import INTERNAL_ERROR, INTERRUPTED, REFUSED, TRACEBACK, printable
from compiler.errors import PolicycError

COMMANDS: Final = {
    "build": "compiler.cli.commands",
    "inspect": "compiler.cli.commands",
    "serve": "compiler.cli.serve",
    "targets": "compiler.cli.commands",
    "verify": "compiler.cli.commands",
}
"""The module of each command, imported when it is needed: a server starts without the compiler."""


class Refusals(click.Group):
    """
    Turns what goes wrong in a command into a message on standard error and an exit status.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """
        The names of all commands.
        """
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """
        A command by its name.
        """
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), f"{cmd_name}_command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """
        Runs the command.
        """
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("policyc: interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except PolicycError as error:
            _say(ctx, str(error))
            ctx.exit(REFUSED)
        except Exception as error:
            _say(ctx, f"internal error: {type(error).__name__}: {error}")
            if not ctx.meta.get(TRACEBACK):
                click.echo("policyc: please report it, with what the same command prints with --traceback", err=True)
            ctx.exit(INTERNAL_ERROR)


def _say(ctx: click.Context, message: str) -> None:
    if ctx.meta.get(TRACEBACK):
        click.echo(printable(traceback.format_exc()), err=True, nl=False)
    click.echo(f"policyc: {printable(message)}", err=True)


@click.group(cls=Refusals, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="policyc")
def cli() -> None:
    """
    Compiles a trained policy into a predictor: a Python package, a library, WebAssembly or an executable.
    """


def main() -> None:
    """
    The entry point `policyc`.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a path may hold what the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="policyc")
