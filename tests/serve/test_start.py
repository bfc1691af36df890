"""
A server begins with little: what it imports is most of the time until it is ready.
"""

import subprocess
import sys

LATER = {"capnp", "jinja2", "llvmlite", "numba", "prometheus_client", "rich", "torch", "ziglang", "compiler.pipeline"}
"""What builds packages, and what is needed when somebody asks for it."""
START = f"""
import os, sys
from compiler.cli import cli

try:  # it ends before workers are forked, when everything has been imported
    cli(["serve", "absent", "--tls-cert", "absent", "--tls-key", "absent"])
except SystemExit as status:
    assert status.code == 3, status.code
assert "compiler.serve.application" in sys.modules
print(sorted({LATER} & set(sys.modules)), len(os.listdir("/proc/self/task")))
"""


def test_a_server_imports_nothing_of_the_compiler_and_begins_no_threads(monkeypatch):
    """
    Those of NumPy's library for matrices, one for each processor, would spin for a while.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True)
    assert done.stdout == "[] 1\n", done.stderr
