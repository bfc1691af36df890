"""
The C library of a policy, and the compiled functions of its Numba predictor, both called from the same loop in C.
"""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from numba.core import types
from numpy.typing import NDArray

from benchmarks.c_code import Answers, blank, compiled, function
from benchmarks.subjects import Subject

CACHE_LINE = 64

ADAPTER = """
#include "{name}.h"

int64_t answer(const void *observation, void *action) {{
    static {name}_state state;
    return {name}_predict(&state, observation, action);
}}
"""

_types: Any = types  # which Numba does not declare types for


def library(subject: Subject, product: Path, observations: NDArray[Any], folder: Path) -> Answers:
    """
    The C library, linked with a function that calls it.

    Args:
        subject: whose policy it is, with one observation space and without masks.
        product: the folder that the target `c` made.
        observations: one in each row.
        folder: for what is compiled.
    """
    text = (product / f"{subject.name}.h").read_text("utf-8")
    source = folder / f"{product.parent.name}.c"
    source.write_text(ADAPTER.format(name=subject.name), "utf-8")
    parts = [str(product / f"lib{subject.name}.a"), "-Wl,--gc-sections"]
    linked = compiled(folder, product.parent.name, source, "-O2", f"-I{product}", linked=parts)
    address, loaded = function(linked)
    return Answers(address, observations, action_of(text), f"{linked.stat().st_size:,} bytes stripped", kept=(loaded,))


def action_of(header: str) -> NDArray[Any]:
    """
    Room for an action of the library with this header.
    """
    size = re.search(r"_ACTION_SIZE (\d+)$", header, re.MULTILINE)
    kind = re.search(r"(\w+) \*action\)", header)
    if size is None or kind is None:
        raise ValueError("the header declares no action")
    return np.zeros(int(size[1]), np.int64 if kind[1] == "int64_t" else np.float32)


def jit(subject: Subject, observations: NDArray[np.float32]) -> Answers:
    """
    The kernels of the Numba predictor, as Numba compiled them for this machine, with nothing of Python around them.

    Args:
        subject: whose policy it is: one observation of float32, discrete actions.
        observations: one in each row.
    """
    package = subject.predictor
    room = _aligned(package.kernels.WORKSPACE)
    call = _answer(package, package.predictor._address, room.ctypes.data)
    return Answers(call.address, observations, blank(np.zeros(1, np.int64)), kept=(call, room, package))


def _answer(package: ModuleType, weights_at: int, room_at: int) -> Any:
    infer, give, pointer = package.kernels.infer, package.kernels.give, package.simd.pointer
    blob, workspace = package.kernels.WEIGHTS, package.kernels.WORKSPACE
    address: Any = _types.CPointer(_types.float32)
    decorate: Callable[..., Any] = numba.cfunc(_types.int64(address, address), error_model="numpy")

    @decorate
    def answer(observation: Any, action: Any) -> int:
        work = pointer(room_at, workspace)
        status: int = infer((observation,), pointer(weights_at, blob), work)
        if status == 0:
            give(0, 1, False, (action, action), work)  # the second would be for scores
        return status

    return answer


def _aligned(count: int) -> NDArray[np.float32]:
    """
    Room for so many values, from a whole cache line on.
    """
    step = CACHE_LINE // 4
    room = np.zeros(count + step, np.float32)
    skipped = -room.ctypes.data % CACHE_LINE // 4
    return room[skipped : skipped + count]
