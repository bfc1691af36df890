"""
Fuzzes what an executable makes of its input: clang's libFuzzer, with AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m tests.targets.fuzz_exe [SECONDS [KIND ...]]

fuzzes each kind for so many seconds, and ends with status 1 where something was found.
"""

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from compiler.codegen.naming import c_literal
from tests.targets.executables import HOSTILE, Made, built, parts_in_c, sanitized

KINDS = ("dict", "recurrent", "masked", "normalised", "sentences")
"""Which together have every kind of array."""
SECONDS = 5

PARTS = {
    "camera": [[[0] * 9] * 8],
    "gear": 4,
    "switches": [[0, 1], [1, 0]],
    "dials": [2, 3],
    "speed": [1.5, -2e3, 0.25, -0.0],
    HOSTILE: [0, 1, 0, 1, 0, 1],
}
STATE = {"hidden": [[0.5] * 6, [0.25] * 6], "cell": [1.5] * 12}
REQUESTS: dict[str, dict[str, Any]] = {
    "dict": {"observation": PARTS, "scores": True},
    "recurrent": {"observation": [1.5, -2e-3, 0.25, 1e30], "state": STATE, "scores": True},
    "masked": {"observation": [1, 2, 3, 4], "action_masks": [1, 0, True, True, False, 1, 1, 1, 0], "scores": True},
    "normalised": {"observation": [1, 2.25, -3e300, 4], "scores": True},
    "sentences": {"inputs": {"length": [[0.5, 1, 2], [3, 1e30, 5]], "words": [1, 2], "flags": [True, 0, 1]}},
}
"""Of each kind a good request."""
WORDS = (
    "{", "}", "[", "]", ",", ":", '"', "null", "true", "false", "NaN", "Infinity", "-Infinity", "1e38", "1e39", "1e-46",
    "1e309", "9223372036854775807", "9223372036854775808", "-0", "0.5", "\\u00e9", "\\ud83d", "\\ude00", "\\u0000",
    '"observation"', '"scores"', '"action_masks"', '"episode_start"', '"state"', '"hidden"', '"cell"', '"camera"',
    '"gear"', '"switches"', '"dials"', '"speed"', '"inputs"', '"length"', '"words"',
    '"flags"', "0x10", "1.", ".5", "1e", "--1", "+1",
)  # fmt: skip


@dataclass(frozen=True)
class Fuzzed:
    """
    What came of it.
    """

    executions: int
    covered: int
    """Edges of the control flow that were taken."""
    finding: str
    """What went wrong, empty if nothing did."""


@cache
def fuzzer(made: Made, kind: str) -> Path:
    """
    The program that fuzzes the executable of a kind.
    """
    target, source = made.work / "fuzz", made.work / "fuzz.c"
    beginning = '{"outputs": {' if "inputs" in REQUESTS[kind] else '{"action": '
    good = f"#define GOOD {c_literal(json.dumps(REQUESTS[kind]))}\n#define BEGINNING {c_literal(beginning)}\n"
    source.write_text(good + Path(__file__).with_suffix(".c").read_text("utf-8"), "utf-8")
    sources: list[str | Path] = [source, *parts_in_c("main", "bench")]
    sanitized(made, target, sources, "fuzzer", "address", "undefined", "float-cast-overflow")
    return target


def fuzz(kind: str, seconds: int, corpus: Path) -> Fuzzed:
    """
    Fuzzes one kind; a corpus that is there already is gone on with.
    """
    made = built(kind)
    request = json.dumps(REQUESTS[kind])
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate((request, request.replace(" ", ""), "{}", "[1]\n\n" + request, '{"scores": 1}')):
        (corpus / f"seed{number}").write_text(seed, "utf-8")
    dictionary = made.work / "words"
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS), "utf-8")
    limits = [f"-max_total_time={seconds}", f"-max_len={2 * len(request) + 200}", "-timeout=5"]
    # Not -rss_limit_mb: what a process has of its parent before it executes another program counts as its own.
    limits += ["-rss_limit_mb=0", "-malloc_limit_mb=1024"]
    places = [f"-dict={dictionary}", f"-artifact_prefix={made.work}/"]
    command = [str(fuzzer(made, kind)), str(corpus), *places, *limits, "-print_final_stats=1"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    executions = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    covered = re.findall(r"cov: (\d+)", done.stderr)
    finding = "" if done.returncode == 0 else done.stderr[-6000:]
    return Fuzzed(int(executions[1]) if executions else 0, int(covered[-1]) if covered else 0, finding)


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"')


def main(arguments: list[str]) -> int:
    seconds, kinds = int(arguments[0]) if arguments else SECONDS, arguments[1:] or KINDS
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            result = fuzz(kind, seconds, Path(folder) / kind)
            print(
                f"{kind}: {result.executions} executions, {result.covered} edges. {result.finding or 'Nothing found.'}"
            )
            found += bool(result.finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
