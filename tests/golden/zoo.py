"""
Compiles every agent below a folder and compares each predictor with Stable-Baselines3 itself: `nox -s zoo -- FOLDER`.

An agent is a `.zip`; `NAME.vecnormalize.pkl` beside `NAME.zip` are the statistics that its observations are normalised
by. SB3 executes what the files say when it loads them.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from compiler import PolicycError
from compiler.compare_source import compare_agent
from compiler.compare_source.agent import Agent, loaded
from compiler.ir import Box, Dict, Discrete, Model, MultiBinary, Space
from compiler.options import BuildOptions
from compiler.pipeline import load_model, run_passes
from compiler.report import median
from compiler.verify import Predictor, verify
from compiler.verify.asking import Question, single_of
from compiler.verify.cases import finite_cases, policy_of
from tests import models

OBSERVATIONS = 1000
SEED = 7
RUNS, SECONDS = 5, 0.02
WIDTH = 210
TEXTS = {"file": 40, "algorithm": 12, "observation": 32, "action": 22, "options": 36}
"""The columns of texts with their greatest widths: together with the numbers they fit into `WIDTH`."""
NUMBERS = {"observations": 12, "worst difference": 10, "SB3 µs": 6, "predictor µs": 9}
"""The columns of numbers with their least widths."""
AGENTS_EACH = 16


@dataclass(frozen=True)
class Result:
    """
    What became of one agent: a row of the table.
    """

    file: str
    algorithm: str = ""
    observation: str = ""
    action: str = ""
    options: str = ""
    observations: int = 0
    difference: float = 0.0
    """The worst of an action, relative to its range, or of a score or state, relative to the largest beside it."""
    near_ties: int = 0
    sb3: float = 0.0
    """Microseconds per call of SB3's `predict`, one observation at a time."""
    predictor: float = 0.0
    """The same of the predictor's `predict`."""
    failure: str = ""
    """Why it was refused or how it differs; empty if it answers as SB3 does."""


def agents_below(folder: Path) -> list[Path]:
    """
    Every `.zip` below a folder, in order.
    """
    return sorted(path for path in folder.rglob("*.zip") if path.is_file())


def statistics_of(path: Path) -> Path | None:
    """
    The statistics that belong to an agent, if there are any.
    """
    beside = path.with_suffix(".vecnormalize.pkl")
    return beside if beside.is_file() else None


def examine(path: Path, name: str) -> Result:
    """
    Compiles one agent and compares it with SB3.
    """
    statistics = statistics_of(path)
    try:
        with tempfile.TemporaryDirectory(prefix="policyc-zoo-") as folder:
            options = BuildOptions(vecnormalize=None if statistics is None else str(statistics))
            model = load_model(path, options)
            # What a build does, without importing and compiling a second time what it has placed.
            with models.predictor(Path(folder) / "agent", model, options) as predictor:
                verify(model, run_passes(model, options), cast(Predictor, predictor), options)
                with loaded(path, statistics, trust=True) as agent:
                    return _compared(model, predictor, agent, name, statistics is not None)
    except PolicycError as error:
        return Result(name, failure=str(error))
    except Exception as error:
        return Result(name, failure=f"{type(error).__name__}: {error}")


def _compared(model: Model, predictor: Any, agent: Agent, name: str, normalised: bool) -> Result:
    cases = finite_cases(model, OBSERVATIONS, SEED)
    found = compare_agent(predictor, model, cases, agent, name)
    question = single_of(model, cases, 0)
    policy = policy_of(model)
    return Result(
        file=name,
        algorithm=found.algorithm,
        observation=space_text(policy.observation_space),
        action=space_text(policy.action_space),
        options=options_text(agent.model, normalised),
        observations=found.observations,
        difference=max(found.action_error, found.score_error or 0.0),
        near_ties=found.near_ties,
        sb3=microseconds(lambda: agent.predict(question)),
        predictor=microseconds(_call(predictor, question)),
    )


def _call(predictor: Any, question: Question) -> Callable[[], object]:
    return lambda: predictor.predict(question.observation, **question.others)


def microseconds(call: Callable[[], object]) -> float:
    """
    How long a call takes: the median of several runs.
    """
    call()
    runs = []
    for _ in range(RUNS):
        calls, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < SECONDS:
            call()
            calls += 1
        runs.append(elapsed / calls * 1e6)
    return median(runs)


def space_text(space: Space) -> str:
    """
    A space in as few letters as tell it from others.
    """
    match space:
        case Box():
            return f"{'Image' if space.is_image else 'Box'}{list(space.shape)} {space.dtype}"
        case Dict():
            return "{" + ", ".join(f"{key}: {space_text(part)}" for key, part in space.spaces) + "}"
        case Discrete(n=n):
            return f"Discrete {n}"
        case MultiBinary(shape=shape):
            return f"MultiBinary{list(shape)}"
        case _:
            return f"MultiDiscrete{list(space.nvec)}"


def options_text(model: Any, normalised: bool) -> str:
    """
    What the user chose in training, as far as the policy depends on it.
    """
    chosen = {key: getattr(value, "__name__", value) for key, value in model.policy_kwargs.items()}
    chosen = {key: value for key, value in chosen.items() if not key.startswith("optimizer") and value is not False}
    texts = [f"{key}={value}" for key, value in chosen.items()]
    return ", ".join([*(["VecNormalize"] if normalised else []), *texts])


def table_of(results: Sequence[Result]) -> Table:
    """
    One row for each agent.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading, width in TEXTS.items():
        table.add_column(heading, overflow="ellipsis", max_width=width, no_wrap=True)
    for heading, width in NUMBERS.items():
        table.add_column(heading, justify="right", min_width=width)
    table.add_column("verdict", min_width=len("FAILED"))
    for result in results:
        numbers = ["", "", "", ""]
        if not result.failure:
            numbers = [f"{result.observations:,}", f"{result.difference:.1e}", f"{result.sb3:.0f}"]
            numbers.append(f"{result.predictor:.1f}")
        ties = f", {result.near_ties} near ties" if result.near_ties else ""
        verdict = "FAILED" if result.failure else f"same{ties}"
        texts = (result.file, result.algorithm, result.observation, result.action, result.options)
        table.add_row(*texts, *numbers, verdict)
    return table


def _examined(paths: list[Path], names: list[str], processes: int) -> Iterator[Result]:
    """
    The results of all agents, in order.

    A process keeps all that it compiles, so that after some agents it must give way to a new one. That is done here, in
    rounds: under Python 3.11 an executor with max_tasks_per_child may wait for ever.
    """
    context, each = multiprocessing.get_context("spawn"), processes * AGENTS_EACH
    for first in range(0, len(paths), each):
        some, named = paths[first : first + each], names[first : first + each]
        with ProcessPoolExecutor(min(processes, len(some)), mp_context=context) as pool:
            futures = [pool.submit(examine, path, name) for path, name in zip(some, named, strict=True)]
            for name, future in zip(named, futures, strict=True):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    yield Result(name, failure="the process that examined it, or an agent beside it, ended")


def run(folder: Path, processes: int, console: Console) -> int:
    """
    Examines all agents and prints the table; the exit status.
    """
    paths = agents_below(folder)
    if not paths:
        console.print(f"no .zip below {folder}", markup=False)
        return 1
    console.print("Stable-Baselines3 loads these files, which executes what they say.")
    results = []
    names = [path.relative_to(folder).as_posix() for path in paths]
    for result in _examined(paths, names, processes):
        console.print(f"{result.file}: {'FAILED' if result.failure else 'same'}", markup=False, highlight=False)
        results.append(result)
    console.print(table_of(results))
    console.print(f"{OBSERVATIONS:,} random observations each besides special ones; fewer only of images.")
    failed = [result for result in results if result.failure]
    for result in failed:
        console.print(f"\n{result.file}: {result.failure}", markup=False, highlight=False)
    console.print(f"\n{len(results) - len(failed)} of {len(results)} agents are answered as by SB3.")
    return 1 if failed else 0


def main() -> int:
    """
    The command line.
    """
    parser = argparse.ArgumentParser(description="Compile every agent below a folder and compare it with SB3.")
    parser.add_argument("folder", type=Path, help="where the .zip files are; SB3 executes what they say")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many at once")
    choices = parser.parse_args()
    # One thread each: the processes are to share the cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    return run(choices.folder, choices.processes, console)


if __name__ == "__main__":
    sys.exit(main())
