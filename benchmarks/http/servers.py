"""
The servers that are measured: how each is started, when it is ready, how it ends.
"""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http import results
from benchmarks.http.peers.policies import FOLDER
from benchmarks.http.processes import Machine
from benchmarks.http.workload import BYTES, Kind
from benchmarks.http.workshop import PACKAGE
from benchmarks.startup import environment

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
READY = "/v2/health/ready"
STARTING = 60
"""Seconds until a server must be ready."""
ENDING = 15
"""Seconds until one that was asked to end is killed."""
PAUSE = 0.002
"""Seconds between two questions whether a server is ready."""
PLAIN = "benchmarks.http.peers.plain"
FASTAPI = "benchmarks.http.peers.fastapi"
UVICORN = "--loop uvloop --http httptools --workers 1 --no-access-log --log-level warning --factory"


@dataclass(frozen=True)
class Server:
    """
    A program that answers `POST /predict`.
    """

    name: str
    modules: tuple[str, ...]
    """What its Python must be able to import."""
    arguments: str
    """After `python -m`, {package} the folder that policyc serves, {port} where it listens."""
    about: str
    ready: str = READY
    bytes_path: str | None = "/predict"
    """Where it takes float32; None if it does not."""

    def path(self, kind: Kind) -> str | None:
        """
        Where it takes requests of a kind; None if it does not.
        """
        return self.bytes_path if kind.content_type == BYTES else "/predict"

    def lacks(self, python: str) -> str | None:
        """
        The first module that a Python can't import, if there is one.
        """
        for module in self.modules:
            command = [python, "-c", f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({module!r}))"]
            if subprocess.run(command, capture_output=True, cwd=ROOT).returncode:
                return module
        return None


OURS = Server(results.OURS, ("granian", "msgspec"), "compiler.cli serve {package} --port {port} --workers 1", "native")
PLAIN_SERVER = Server(
    results.PLAIN, ("stable_baselines3",), f"{PLAIN} {{port}}", "ThreadingMixIn and PPO.predict; HTTP/1.0, its default"
)
PLAIN_KEPT = Server(
    "http.server, HTTP/1.1",
    ("stable_baselines3",),
    f"{PLAIN} {{port}} 1.1",
    "ThreadingMixIn and PPO.predict; connections kept, an answer sent in one packet",
)
FASTAPI_TORCH = Server(
    results.TORCH,
    ("fastapi", "uvicorn", "uvloop", "httptools", "stable_baselines3"),
    f"uvicorn {UVICORN} {FASTAPI}:with_stable_baselines3 --port {{port}}",
    "uvicorn with uvloop and httptools; PPO.predict",
    bytes_path="/predict-bytes",
)
FASTAPI_NETWORK = Server(
    "FastAPI, bare torch",
    FASTAPI_TORCH.modules,
    f"uvicorn {UVICORN} {FASTAPI}:with_torch_network --port {{port}}",
    "the same; the network alone in torch",
    bytes_path="/predict-bytes",
)
FASTAPI_ONNX = Server(
    "FastAPI, ONNX Runtime",
    ("fastapi", "uvicorn", "uvloop", "httptools", "onnxruntime"),
    f"uvicorn {UVICORN} {FASTAPI}:with_onnxruntime --port {{port}}",
    "the same; the network alone in ONNX Runtime",
    bytes_path="/predict-bytes",
)
BENTOML = Server(
    "BentoML, ONNX Runtime",
    ("bentoml", "onnxruntime"),
    f"bentoml serve benchmarks.http.peers.bento:Policy --host {HOST} --port {{port}}",
    "one worker; the network alone in ONNX Runtime",
    ready="/readyz",
    bytes_path=None,
)
SERVERS = (OURS, PLAIN_SERVER, PLAIN_KEPT, FASTAPI_TORCH, FASTAPI_NETWORK, FASTAPI_ONNX, BENTOML)
"""The first is ours."""


@dataclass(frozen=True)
class Running:
    """
    A server that was ready.
    """

    server: Server
    process: "subprocess.Popen[bytes]"
    port: int
    seconds: float
    """From the start of its command to its first answer that it is ready."""

    def url(self, path: str) -> str:
        """
        Where it takes something.
        """
        return f"http://{HOST}:{self.port}{path}"


@contextmanager
def running(server: Server, python: str, folder: Path, machine: Machine, log: Path) -> Iterator[Running]:
    """
    Starts a server and waits until it is ready; ends it and all its processes afterwards.

    Args:
        server: which.
        python: the interpreter that has what the server needs.
        folder: of the workshop.
        machine: which cores the server may use.
        log: the file that gets what it prints.

    Raises:
        RuntimeError: it ended, or was not ready in time.
    """
    port = free_port()
    arguments = server.arguments.format(package=folder / PACKAGE, port=port).split()
    variables = {**environment(_path()), FOLDER: str(folder)}
    command = machine.pinned([python, "-m", *arguments], machine.server_cores)
    with log.open("wb") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=ROOT, env=variables, start_new_session=True
        )
        try:
            while not is_ready(port, server.ready):
                if process.poll() is not None or time.perf_counter() > begin + STARTING:
                    said = log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{server.name} did not become ready; it printed:\n{said}")
                time.sleep(PAUSE)
            yield Running(server, process, port, time.perf_counter() - begin)
        finally:
            _end(process)


def free_port() -> int:
    """
    One that nobody listens on now.
    """
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def is_ready(port: int, path: str) -> bool:
    """
    Whether a server answers that it is.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def start_times(server: Server, python: str, folder: Path, machine: Machine, log: Path, count: int) -> Sequence[float]:
    """
    Seconds from start to ready, of several starts; one before them, not counted, has the files read and compiled.
    """
    times = []
    for _ in range(count + 1):
        with running(server, python, folder, machine, log) as one:
            times.append(one.seconds)
    return times[1:]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """
    Asks a server to end; kills what is left of its session.
    """
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(ENDING)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
