"""
The kernel without Python around it, against what the processor can do at best.
"""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any, TypeVar

import numba
import numpy as np

from benchmarks.contest import Contestant, Effort, compete
from benchmarks.report import Table, rows_of
from benchmarks.subjects import Bench

OBSERVATIONS = 256
PASSES = 16
"""How often a call goes through all observations."""
CHAINS = 12
"""Sums under way at once: more than a core starts per cycle times the cycles that each takes, and all in registers."""
STEPS = 4096

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(bench: Bench, effort: Effort) -> list[Table]:
    """
    The kernel for one observation in a compiled loop, and its multiply-adds at the measured peak.
    """
    subject = bench.cartpole
    loop, peak = calls(subject.predictor), multiply_adds(subject.predictor.simd)
    address = subject.predictor.predictor._address
    rows = subject.observations(1, OBSERVATIONS)[0].reshape(-1)
    network, lanes = subject.network.multiply_adds, subject.predictor.simd.LANES
    limit, ours = compete(
        [
            Contestant(
                f"its {network:,} multiply-adds", peak, [np.float32(0.5)], work=CHAINS * STEPS * lanes / network
            ),
            Contestant("policyc kernel", lambda rows: loop(rows, address), [rows], work=OBSERVATIONS * PASSES),
        ],
        effort,
    )
    flops = 2e-9 * network / limit.median
    limit = replace(limit, note=f"at the measured peak of {flops:.0f} GFLOP/s: registers alone, {lanes} lanes")
    title = "The kernel alone, CartPole (4-64-64-2, tanh): a compiled loop over varying observations"
    return [Table("kernel", title, rows_of([limit, ours]), "within 2 x")]


def compiled(function: Function) -> Function:
    """
    Decorates a loop that Numba compiles when it is first called.
    """
    njit: Any = numba.njit
    decorated: Function = njit(error_model="numpy")(function)
    return decorated


def calls(package: ModuleType) -> Callable[[Any, int], float]:
    """
    A compiled loop of calls; what it returns depends on all of them.
    """
    infer, give, (size,) = package.kernels.infer, package.kernels.give, package.predictor.OBSERVATION_SHAPE
    total, blob = package.kernels.WORKSPACE, package.kernels.WEIGHTS
    advance, pointer, workspace = package.simd.advance, package.simd.pointer, package.simd.workspace
    action = np.zeros(2, np.float32)  # as large as the int64 that becomes of it
    place: int = action.ctypes.data

    @compiled
    def loop(rows: int, location: int, left: int) -> float:
        work = workspace(total)
        weights, seen = pointer(location, blob), pointer(rows, OBSERVATIONS * size)
        results = (pointer(left, 2), pointer(left, 2))  # the second would be for scores
        result = 0.0
        for _ in range(PASSES):
            for row in range(OBSERVATIONS):
                result += infer((advance(seen, row * size),), weights, work)
                give(0, 1, False, results, work)
        return result

    return lambda rows, location: loop(rows.ctypes.data, location, place) + float(action[0])


def multiply_adds(simd: ModuleType) -> Callable[[Any], float]:
    """
    A compiled loop of CHAINS * STEPS * LANES multiply-adds that never leave the registers.
    """
    fma, splat, total = simd.fma, simd.splat, simd.total

    @compiled
    def loop(factor: float) -> float:
        x, one = splat(factor), splat(1.0)
        a0, a1, a2, a3, a4, a5 = one, x, one, x, one, x
        b0, b1, b2, b3, b4, b5 = x, one, x, one, x, one
        for _ in range(STEPS):
            a0 = fma(a0, x, one)
            a1 = fma(a1, x, one)
            a2 = fma(a2, x, one)
            a3 = fma(a3, x, one)
            a4 = fma(a4, x, one)
            a5 = fma(a5, x, one)
            b0 = fma(b0, x, one)
            b1 = fma(b1, x, one)
            b2 = fma(b2, x, one)
            b3 = fma(b3, x, one)
            b4 = fma(b4, x, one)
            b5 = fma(b5, x, one)
        result: float = total(a0 + a1 + a2 + a3 + a4 + a5 + b0 + b1 + b2 + b3 + b4 + b5)
        return result

    return loop
