"""
What is measured: a function for each table.
"""

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import peers
from benchmarks.contest import PROCESSOR, WALL, Contestant, Effort, Missing
from benchmarks.kernel import kernel
from benchmarks.kinds import masked, recurrent
from benchmarks.launch import launch
from benchmarks.native import in_c, native
from benchmarks.peers import Work
from benchmarks.programs import programs
from benchmarks.report import Printed, Table, measured
from benchmarks.sizes import sizes
from benchmarks.startup import build_time, import_time
from benchmarks.subjects import Bench, Subject, cores, threads
from benchmarks.wasm import wasm

RUNTIMES: dict[str, peers.Peer] = {"ONNX Runtime": peers.onnxruntime, "OpenVINO": peers.openvino}
TORCH: dict[str, peers.Peer] = {"torch eager": peers.torch_eager, "TorchScript frozen": peers.torch_script}
BARE = {**RUNTIMES, **TORCH}


def act(bench: Bench, effort: Effort) -> list[Table]:
    """
    One observation, from Python to Python.
    """
    title = "One observation, CartPole (4-64-64-2, tanh), one thread"
    work = bench.cartpole.work(64, 1)
    entrants = _one(bench.cartpole, work, {**BARE, "NumPy": peers.numpy})
    return [measured("act", title, entrants, effort, "SB3 350 x, ONNX Runtime 15 x")]


def batch(bench: Bench, effort: Effort) -> list[Table]:
    """
    A batch of 4,096 observations.
    """
    title = "Batch of 4,096 observations, CartPole (4-64-64-2, tanh)"
    return _batches("batch", title, bench.cartpole, 4, 4096, RUNTIMES, effort, "ahead of SB3 and ONNX Runtime")


def actor(bench: Bench, effort: Effort) -> list[Table]:
    """
    A larger actor: a batch of 1,024, and a single observation.
    """
    title, reach = "Batch of 1,024 observations, TD3 actor (17-256-256-6, ReLU)", "ahead of all with one thread"
    tables = _batches("actor", title, bench.actor, 4, 1024, BARE, effort, reach)
    single = "One observation, TD3 actor (17-256-256-6, ReLU), one thread"
    entrants = _one(bench.actor, bench.actor.work(64, 1), BARE)
    return [*tables, measured("actor-act", single, entrants, effort)]


def sac(bench: Bench, effort: Effort) -> list[Table]:
    """
    A SAC actor, one observation.
    """
    title = "One observation, SAC actor (17-256-256-6, ReLU), one thread"
    entrants = _one(bench.sac, bench.sac.work(64, 1), BARE)
    return [measured("sac", title, entrants, effort, "SB3 60 x, ONNX Runtime 3 x")]


def images(bench: Bench, effort: Effort) -> list[Table]:
    """
    Images of 4 x 84 x 84: a single one in both layouts, and a batch of 256.
    """
    subject = bench.images
    work = subject.work(16, 1)
    last = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in work.rows]
    turned = Contestant("policyc act, channels last", subject.predictor.act, last)
    ours, *others = _one(subject, work, BARE)
    single = "One image, DQN's NatureCNN (4 x 84 x 84, six actions), one thread"
    reach = "SB3 3 x, ahead of ONNX Runtime"
    table = measured("images", single, [ours, peers.checked(turned, work.expected), *others], effort, reach)
    title, reach = "Batch of 256 images, DQN's NatureCNN", "ahead of torch and ONNX Runtime with as many threads"
    return [table, *_batches("images-batch", title, subject, 1, 256, BARE, effort, reach)]


def _one(subject: Subject, work: Work, bare: dict[str, peers.Peer]) -> list[Contestant | Missing]:
    """
    All who answer single observations.
    """
    predict = subject.predictor.predict
    ours = [
        Contestant("policyc act", subject.predictor.act, work.rows),
        Contestant("policyc predict", lambda row: predict(row)[0], work.rows),
    ]
    return [*(peers.checked(one, work.expected) for one in ours), *_others(subject, work, bare)]


def _batches(
    name: str,
    title: str,
    subject: Subject,
    count: int,
    size: int,
    bare: dict[str, peers.Peer],
    effort: Effort,
    reach: str,
) -> list[Table]:
    """
    A table for one thread, and one for all threads where there are more.
    """
    tables, predict = [], subject.predictor.predict
    for number in sorted({1, cores()}):
        work = subject.work(count, size, number)
        with threads(subject.predictor, number):
            ours = Contestant("policyc predict", lambda rows: predict(rows)[0], work.rows)
            entrants = [peers.checked(ours, work.expected), *_others(subject, work, bare)]
            noun = "one thread" if number == 1 else f"{number} threads"
            clock = PROCESSOR if number == 1 else WALL
            tables.append(measured(f"{name}-{number}", f"{title}, {noun}", entrants, effort, reach, clock))
    return tables


def _others(subject: Subject, work: Work, bare: dict[str, peers.Peer]) -> Sequence[Contestant | Missing]:
    """
    Stable-Baselines3 itself, and those who run the bare network.
    """
    name = f"{subject.algorithm}.predict"
    return peers.enter(work, {name: peers.sb3(name, subject.agent), **bare})


TABLES: dict[str, Callable[[Bench, Effort], Sequence[Printed]]] = {
    "act": act,
    "kernel": kernel,
    "batch": batch,
    "actor": actor,
    "sac": sac,
    "images": images,
    "recurrent": recurrent,
    "masked": masked,
    "import": import_time,
    "build": build_time,
    "native": native,
    "c": in_c,
    "launch": launch,
    "sizes": sizes,
    "wasm": wasm,
    "programs": programs,
}
"""By the names that `--only` takes, in the order in which they are printed."""
