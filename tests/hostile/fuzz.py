"""
Damages good files for as long as it is told to: `python -m tests.hostile.fuzz --minutes 60`.

Each case must give a value or a PolicycError within five seconds and 512 MiB. On anything else the file that did it is
saved, its path is printed, and the exit status is 1. The seed is printed first; `--seed` repeats a run.
"""

import argparse
import importlib
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from compiler.errors import PolicycError
from tests.hostile.mutations import mutate, rechecked, seeds
from tests.hostile.policies import sb3_zip

SECONDS, KIBIBYTES = 5, 512 * 1024
Reader = Callable[[bytes], object]


def model_files() -> dict[str, tuple[Reader, tuple[bytes, ...]]]:
    """
    A model file, if the whole compiler can be imported here.
    """
    try:
        modelfile = importlib.import_module("compiler.modelfile")
        pipeline = importlib.import_module("compiler.pipeline")
    except ImportError as error:
        print(f"no model files: {error}")
        return {}
    with tempfile.TemporaryDirectory() as folder:
        agent = Path(folder) / "ppo.zip"
        agent.write_bytes(sb3_zip())
        good = bytes(modelfile.encode(pipeline.load_model(agent)).data)
    return {"model file": (lambda data: modelfile.decode(data, "mutant"), (good,))}


def cases(kinds: dict, chance: random.Random) -> Iterator[tuple[str, Reader, bytes]]:
    """
    Damaged files without end, the kinds in turn.
    """
    while True:
        for kind, (read, goods) in kinds.items():
            data = mutate(chance.choice(goods), chance.choice(goods), chance)
            yield kind, read, rechecked(data) if chance.random() < 0.5 else data


def outcome(read: Reader, data: bytes) -> str:
    """
    What reading gives: "value", "refused", or a surprise in words.
    """
    started = time.perf_counter()
    try:
        read(data)
        result = "value"
    except PolicycError:
        result = "refused"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {error}"
    if time.perf_counter() - started > SECONDS:
        return f"took {time.perf_counter() - started:.1f} s"
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return result if used < KIBIBYTES else f"used {used // 1024} MiB"


def main(minutes: float, seed: int | None = None, folder: str = ".") -> int:
    """
    Run for so many minutes; 0 if nothing surprising happened, else 1.
    """
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)
    tried: Counter[tuple[str, str]] = Counter()
    until = time.monotonic() + 60 * minutes
    status = 0
    for kind, read, data in cases(seeds() | model_files(), chance):
        result = outcome(read, data)
        tried[kind, result] += 1
        if result not in ("value", "refused"):
            path = Path(folder) / f"fuzz-{seed}-{sum(tried.values())}.bin"
            path.write_bytes(data)
            print(f"{kind}: {result}; saved as {path}", flush=True)
            status = 1
            break
        if time.monotonic() > until:
            break
    print(f"{sum(tried.values()):,} cases")
    for (kind, result), count in sorted(tried.items()):
        print(f"  {kind}: {result}: {count:,}")
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Damage good files and read them.")
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--folder", default=".", help="where a surprising file is saved")
    arguments = parser.parse_args()
    sys.exit(main(arguments.minutes, arguments.seed, arguments.folder))
