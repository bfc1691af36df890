"""
Where the examples of the guide to serving are run: its files are written, its servers listen at ports that are free.
"""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.test_docs import ROOT, Block, unnumbered
from tests.test_docs_outside_python import FILE
from tests.thorough import THOROUGH

PORT = "8080"
"""What the guide's servers listen at, and where tests put a free port."""
PATIENCE = 300
"""Seconds after which something hangs."""
QUICKER = {
    "--target native": "--target native --cpu native --verify-observations 8",
    'target="native"': 'target="native", cpu="native", verify_observations=8',
}
"""What makes builds shorter: for this processor alone, and compared with fewer observations."""
VARYING = ("microseconds", "time", "id", "session")
"""Members of JSON whose values the guide shows, but no test can know."""


def free_port() -> int:
    """
    A port that nothing listens at now.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def environment_of(programs: Path) -> dict[str, str]:
    """
    This process's environment, in which `policyc` and `python` are those of this Python.
    """
    programs.mkdir()
    for name, command in (("policyc", "-m compiler.cli"), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        program.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def asked(url: str, token: str = "") -> tuple[int, bytes]:
    """
    The status and the body of an answer; 0 while nothing listens there. Any certificate will do.
    """
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=5, context=ssl._create_unverified_context()) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


@contextmanager
def running(
    command: list[str], cwd: Path, environment: Mapping[str, str], ready: str, **choices: Any
) -> Iterator[subprocess.Popen[str]]:
    """
    A server that answers with 200 at the URL `ready`. In the end SIGTERM must end it with the status 0.
    """
    output = cwd / "server.log"
    with output.open("w") as file:
        server = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=file, stderr=subprocess.STDOUT, text=True, **choices
        )
    try:
        late = time.monotonic() + PATIENCE
        while asked(ready)[0] != 200:
            assert server.poll() is None, output.read_text()
            assert time.monotonic() < late, f"{command} does not answer: {output.read_text()}"
            time.sleep(0.02)
        yield server
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) == 0, output.read_text()
    finally:
        server.kill()
        server.wait()


class Place:
    """
    A folder in which the blocks of a section are performed, in their order.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, dict(environment)
        self.port = free_port()
        self._files: dict[str, str] = {}
        self._server: Any = None

    def perform(self, block: Block) -> None:
        """
        Writes a file, or runs commands, which must print what the guide shows.
        """
        if block.language != "console":
            (name,) = FILE.findall(block.text.splitlines()[0])
            self._files[name] = block.text
            self._write()
            return
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            while command.endswith("\\"):
                more, _, shown = shown.partition("\n")
                command = f"{command[:-1]}{more.removeprefix('>').strip()}"
            where = f"{block.page}:{block.line}: {command}"
            if command.startswith("policyc serve"):
                self.serve(command, shown, where)
            else:
                self.run(command, shown, where)

    def run(self, command: str, shown: str, where: str) -> None:
        """
        Runs a command of the shell.
        """
        done = subprocess.run(
            ["bash", "-ec", self._here(command)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"{where}: {done.stderr or done.stdout}"
        if command.startswith("policyc"):
            assert unnumbered(done.stdout) == unnumbered(shown), where
        else:
            assert alike(done.stdout, self._here(shown)), f"{where}:\n{done.stdout}"

    def serve(self, command: str, shown: str, where: str) -> None:
        """
        Starts a server in the background, in place of the one before.
        """
        self.stop()
        self.port = free_port()
        self._write()
        command = self._here(command.partition("&")[0])
        scheme = "https" if "--tls-cert" in command else "http"
        self._server = running(
            ["bash", "-c", f"exec {command} --port {self.port}"],
            self.folder,
            self.environment,
            f"{scheme}://127.0.0.1:{self.port}/v2/health/ready",
        )
        self.environment["SERVER"] = str(self._server.__enter__().pid)
        late = time.monotonic() + PATIENCE
        while not unnumbered(said := (self.folder / "server.log").read_text()).startswith(unnumbered(shown)):
            assert time.monotonic() < late, f"{where}: {said}"
            time.sleep(0.02)

    def stop(self) -> None:
        """
        Ends the server, which must not have failed.
        """
        server, self._server = self._server, None
        if server is not None:
            server.__exit__(None, None, None)

    def _write(self) -> None:
        """
        Writes all files, as they ask the server that runs now.
        """
        for name, text in self._files.items():
            (self.folder / name).write_text(self._here(text), encoding="utf-8")

    def _here(self, text: str) -> str:
        for slow, quick in () if THOROUGH else QUICKER.items():
            text = text.replace(slow, quick)
        return text.replace(PORT, str(self.port))


def alike(found: str, shown: str) -> bool:
    """
    Whether lines are as they must be: JSON by its values, whose numbers may differ by rounding, and some altogether.
    """
    return [_value(line) for line in found.strip().splitlines()] == [
        _rounded(_value(line)) for line in shown.strip().splitlines()
    ]


def _value(line: str) -> Any:
    try:
        return _without_varying(json.loads(line))
    except ValueError:
        return line.rstrip()


def _without_varying(value: Any) -> Any:
    match value:
        case dict():
            return {key: "..." if key in VARYING else _without_varying(part) for key, part in value.items()}
        case list():
            return [_without_varying(part) for part in value]
        case _:
            return value


def _rounded(value: Any) -> Any:
    match value:
        case dict():
            return {key: _rounded(part) for key, part in value.items()}
        case list():
            return [_rounded(part) for part in value]
        case float():
            return pytest.approx(value, rel=1e-3, abs=1e-6)
        case _:
            return value


def copy_agents(folder: Path) -> None:
    """
    Puts the agents that are checked in into a folder.
    """
    for name in ("cartpole.zip", "pendulum.zip"):
        shutil.copy(ROOT / "model" / name, folder)
