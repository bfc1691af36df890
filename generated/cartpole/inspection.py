"""
What every layer computes for one observation, to find where two models part. Imported when first asked for.
"""

import numpy as np
from numpy.typing import NDArray

from .jit import entry
from .kernels import WEIGHTS, WORKSPACE, policy
from .lowering import BUFFER, NUMBER
from .simd import address, pointer

LAYERS: tuple[tuple[str, int, int, str], ...] = (
    ("mlp_extractor.policy_net.1", 16, 64, "float32"),
    ("mlp_extractor.policy_net.3", 80, 64, "float32"),
    ("action_net", 144, 2, "float32"),
    ("action_dist.mode", 160, 1, "float32"),
)
"""Every value from observation to action: its name, where it begins in the workspace, its length and dtype there."""


@entry(BUFFER, NUMBER, BUFFER)
def fill(observation: NDArray[np.float32], weights: int, work: NDArray[np.float32]) -> int:
    """
    Leaves everything that is computed for one observation in the workspace; 0.
    """
    policy(address(observation), pointer(weights, WEIGHTS), address(work))
    return 0


def layers(observation: NDArray[np.float32], weights: int) -> dict[str, NDArray[np.float32] | NDArray[np.float64]]:
    """
    The value of every layer, by its name, for one observation of 4 float32.
    """
    work = np.zeros(WORKSPACE, np.float32)
    fill(observation, weights, work)
    return {name: work[begin:].view(dtype)[:count].copy() for name, begin, count, dtype in LAYERS}
