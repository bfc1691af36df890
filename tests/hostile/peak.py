"""
Runs a command and tells how much memory it took at most.
"""

import subprocess
import sys
from pathlib import Path

# A child's peak counts what its parent had when it forked, and pytest with torch in it has a lot. So a small Python
# stands between.
LAUNCHER = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


def run(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str, int]:
    """
    Run a command in a folder; its exit status, all that it printed, and its peak in KiB.
    """
    peak = folder / "peak"
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(peak), *command]
    done = subprocess.run(
        launcher, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout, int(peak.read_text())
