"""
What is measured: a function for each table.
"""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import peers
from benchmarks.contest import PROCESSOR, WALL, Contestant, Effort, Missing
from benchmarks.kernel import kernel
from benchmarks.peers import Work
from benchmarks.report import Table, measured
from benchmarks.startup import build_time, import_time
from benchmarks.subjects import Bench, Subject, cores, threads

BARE: dict[str, peers.Peer] = {"ONNX Runtime": peers.onnxruntime, "OpenVINO": peers.openvino}
TORCH: dict[str, peers.Peer] = {"torch eager": peers.torch_eager, "TorchScript frozen": peers.torch_script}


def act(bench: Bench, effort: Effort) -> list[Table]:
    """
    One observation, from Python to Python.
    """
    subject = bench.cartpole
    work = Work(subject.network, subject.batches(64, 1))
    ours = peers.checked(Contestant("policyc act", subject.predictor.act, work.rows), work)
    predict = peers.checked(
        Contestant("policyc predict", lambda row: subject.predictor.predict(row)[0], work.rows), work
    )
    others = [*_others(subject, "PPO", work), *peers.enter(work, {**BARE, **TORCH, "NumPy": peers.numpy})]
    title = "One observation, CartPole (4-64-64-2, tanh), one thread"
    return [measured("act", title, [ours, predict, *others], effort, "SB3 350 x, ONNX Runtime 15 x")]


def batch(bench: Bench, effort: Effort) -> list[Table]:
    """
    A batch of 4,096 observations.
    """
    title = "Batch of 4,096 observations, CartPole (4-64-64-2, tanh)"
    return _batches(bench.cartpole, "PPO", "batch", title, 4096, BARE, effort, "ahead of SB3 and ONNX Runtime")


def actor(bench: Bench, effort: Effort) -> list[Table]:
    """
    A larger actor: a batch of 1,024, and a single observation.
    """
    title, reach = "Batch of 1,024 observations, TD3 actor (17-256-256-6, ReLU)", "ahead of all with one thread"
    tables = _batches(bench.actor, "TD3", "actor", title, 1024, {**BARE, **TORCH}, effort, reach)
    work = Work(bench.actor.network, bench.actor.batches(64, 1))
    entrants = [
        peers.checked(Contestant("policyc act", bench.actor.predictor.act, work.rows), work),
        *_others(bench.actor, "TD3", work),
        *peers.enter(work, {**BARE, **TORCH}),
    ]
    single = "One observation, TD3 actor (17-256-256-6, ReLU), one thread"
    return [*tables, measured("actor-act", single, entrants, effort)]


def _batches(
    subject: Subject,
    algorithm: str,
    name: str,
    title: str,
    size: int,
    bare: dict[str, peers.Peer],
    effort: Effort,
    reach: str,
) -> list[Table]:
    """
    A table for one thread, and one for all threads where there are more.
    """
    tables = []
    for count in sorted({1, cores()}):
        work = Work(subject.network, subject.batches(4, size), count)
        with threads(count):
            mine = Contestant("policyc predict", lambda rows: subject.predictor.predict(rows)[0], work.rows)
            entrants = [peers.checked(mine, work), *_others(subject, algorithm, work), *peers.enter(work, bare)]
            noun = "one thread" if count == 1 else f"{count} threads"
            tables.append(
                measured(
                    f"{name}-{count}", f"{title}, {noun}", entrants, effort, reach, PROCESSOR if count == 1 else WALL
                )
            )
    return tables


def _others(subject: Subject, algorithm: str, work: Work) -> Sequence[Contestant | Missing]:
    """
    Stable-Baselines3 itself.
    """
    name = f"{algorithm}.predict"
    try:
        import stable_baselines3
    except ImportError as error:
        return [Missing(name, f"not installed: {error.name or error}")]
    model: Any = getattr(stable_baselines3, algorithm).load(subject.checkpoint, device="cpu")
    return peers.enter(work, {name: peers.sb3(name, model)})


TABLES: dict[str, Callable[[Bench, Effort], list[Table]]] = {
    "act": act,
    "kernel": kernel,
    "batch": batch,
    "actor": actor,
    "import": import_time,
    "build": build_time,
}
"""By the names that `--only` takes, in the order in which they are printed."""
