"""
Policies without Numba: the extension, and the C library, beside the predictor that Numba compiles.
"""

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import c_code, c_library, c_peers, peers
from benchmarks.contest import Contestant, Effort, Missing
from benchmarks.kinds import OBSERVATIONS, Call, answers, entrants
from benchmarks.report import Table, measured
from benchmarks.subjects import Bench, Subject
from compiler.loading import load

CPUS = ("native", "portable")
FAST = "-ffast-math"


def native(bench: Bench, effort: Effort) -> list[Table]:
    """
    One observation through the extension: CartPole beside those who run it elsewhere, then policies of other kinds.
    """
    return [_cartpole(bench, effort), _kernels(bench, effort), *_kinds(bench, effort)]


def _cartpole(bench: Bench, effort: Effort) -> Table:
    subject = bench.cartpole
    work = subject.work(OBSERVATIONS, 1)
    ours = [
        *(Contestant(name, package.act, work.rows) for name, package in _extensions(bench, subject).items()),
        Contestant("numba act", subject.predictor.act, work.rows),
    ]
    others = {"PPO.predict": peers.sb3("PPO.predict", subject.agent), peers.ONNX_RUNTIME: peers.onnxruntime}
    everybody = [*(peers.checked(one, work.expected) for one in ours), *peers.enter(work, others)]
    title = "One observation from Python, CartPole (4-64-64-2, tanh): a NumPy array in, an int out, one thread"
    return measured("native", title, everybody, effort, "SB3 700 x, ONNX Runtime 28 x")


def _kernels(bench: Bench, effort: Effort) -> Table:
    """
    No Python: what the extension calls, called from a loop in C.
    """
    subject, (rows,) = bench.cartpole, bench.cartpole.observations(1, OBSERVATIONS)
    expected = [subject.network.run(row[np.newaxis]) for row in rows]
    everybody = [
        c_code.entered(
            f"C library, --cpu {cpu}", partial(c_library.library, subject, product, rows, bench.folder), expected
        )
        for cpu, product in _libraries(bench, subject).items()
    ]
    everybody.append(c_code.entered("numba's kernels", lambda: c_library.jit(subject, rows), expected))
    title = "One observation in C, CartPole (4-64-64-2, tanh): a loop in C calls each through a pointer"
    reach = "numba's kernels at least 0.95 x (--cpu native takes at most 1.05 times as long), portable at most 1.10 x"
    return measured("native-kernels", title, everybody, effort, reach)


def _kinds(bench: Bench, effort: Effort) -> list[Table]:
    """
    The extension beside the predictor of Numba, for larger policies and one with a state.
    """
    kinds = {
        "native-sac": ("SAC actor (17-256-256-6, ReLU)", bench.sac),
        "native-images": ("DQN's NatureCNN (4 x 84 x 84, six actions)", bench.images),
        "native-recurrent": ("RecurrentPPO (17-LSTM 256-64-64-6, tanh), the state kept", bench.recurrent),
    }
    tables = []
    for name, (what, subject) in kinds.items():
        everybody = _both(bench, subject)
        tables.append(measured(name, f"One observation from Python, {what}, one thread", everybody, effort))
    return tables


def _both(bench: Bench, subject: Subject) -> list[Contestant]:
    """
    The extension, for this machine and for any, and Numba's predictor, whose answers the others must give.
    """
    rows = [batch[0] for batch in subject.observations(OBSERVATIONS, 1)]
    recurrent = bool(subject.model.states)

    def act(package: Any) -> Call:
        call: Call = package.Episode().act if recurrent else package.act
        return call

    calls = {name: act(package) for name, package in _extensions(bench, subject).items()}
    calls["numba act"] = act(subject.predictor)
    return entrants(calls, rows, answers(act(subject.predictor), rows))


def _extensions(bench: Bench, subject: Subject) -> dict[str, ModuleType]:
    """
    The package with the extension, for this machine and for any.
    """
    return {
        f"extension act, --cpu {cpu}": load(bench.product(subject, "native", cpu=cpu), subject.name) for cpu in CPUS
    }


def _libraries(bench: Bench, subject: Subject) -> dict[str, Path]:
    """
    The C library, for this machine and for any.
    """
    return {cpu: bench.product(subject, "c", cpu=cpu) for cpu in CPUS}


def in_c(bench: Bench, effort: Effort) -> list[Table]:
    """
    The C library beside what others make of the same network for C.
    """
    tables = []
    for name, what, subject in (
        ("c", "CartPole (4-64-64-2, tanh)", bench.cartpole),
        ("c-sac", "SAC actor (17-256-256-6, ReLU)", bench.sac),
    ):
        everybody = _others(bench, subject)
        title = f"One observation in C, {what}: a loop in C calls each through a pointer, one thread"
        tables.append(measured(name, title, everybody, effort))
    return tables


def _others(bench: Bench, subject: Subject) -> list[Contestant | Missing]:
    (rows,) = subject.observations(1, OBSERVATIONS)
    expected = [subject.network.run(row[np.newaxis]) for row in rows]
    folder = bench.folder / f"{subject.name}-in-c"
    folder.mkdir(exist_ok=True)
    task = c_peers.Task(subject.network, rows, expected, folder)
    everybody = {
        f"policyc, --cpu {cpu}": partial(c_library.library, subject, product, rows, folder)
        for cpu, product in _libraries(bench, subject).items()
    }
    everybody |= {
        "plain C": partial(c_peers.plain, task),
        f"plain C, {FAST}": partial(c_peers.plain, task, FAST),
        "emlearn": partial(c_peers.emlearn, task),
        f"emlearn, {FAST}": partial(c_peers.emlearn, task, FAST),
        "ONNX Runtime": partial(c_peers.onnxruntime, task),
    }
    return [c_code.entered(name, prepare, expected) for name, prepare in everybody.items()]
