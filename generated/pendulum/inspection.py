"""
What every layer computes for one observation, to find where two models part. Imported when first asked for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import entry
from .kernels import WEIGHTS, WORKSPACE, at, policy
from .lowering import BUFFER, NUMBER
from .simd import address, pointer

LAYERS: tuple[tuple[str, int, int, str], ...] = (
    ("actor.latent_pi.1", 16, 32, "float32"),
    ("actor.latent_pi.3", 48, 32, "float32"),
    ("actor.mu", 80, 1, "float32"),
    ("action_dist.mode", 96, 1, "float32"),
    ("unscale_action", 112, 1, "float32"),
    ("actor.log_std.clamp", 128, 1, "float32"),
    ("actor.log_std.exp", 144, 1, "float32"),
)
"""Every value from observation to action: its name, where it begins in the workspace, its length and dtype there."""


@entry(BUFFER, NUMBER, BUFFER)
def fill(
    observation: NDArray[np.float32],
    weights: int,
    work: NDArray[np.float32],
) -> int:
    """
    Leaves everything that is computed for one observation in the workspace; 0.
    """
    arrays = (address(observation),)
    policy(at(0, 1, arrays), pointer(weights, WEIGHTS), address(work))
    return 0


def layers(*arguments: Any) -> dict[str, NDArray[np.float32] | NDArray[np.float64]]:
    """
    The value of every layer, by its name, for one observation: the arrays of `fill` and the address of the weights.
    """
    work = np.zeros(WORKSPACE, np.float32)
    given: list[Any] = [*arguments, work]
    fill(*given)
    return {name: work[begin:].view(dtype)[:count].copy() for name, begin, count, dtype in LAYERS}
