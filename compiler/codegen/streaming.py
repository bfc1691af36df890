"""
Weights that are larger than a core's cache: kernels ask for those of the next block while they compute with this one's.
"""

LINE = 16
"""float32 in a line of the caches."""
STREAMED = 1 << 18
"""Weights of a layer from which on they come from memory, or from a cache that all cores share."""
LEAST = 5
"""Steps, in float32, below which nothing is asked for: so many requests for each line cost more than they save."""


def step_ahead(weights: int, tiles: int) -> int:
    """
    How much further on each pass of a kernel's innermost loop asks, so that all tiles together ask for one block; or 0.

    Args:
        weights: that a pass reads.
        tiles: that are computed with one block, each of which reads all of it.
    """
    step = -(-weights // tiles)
    return step if step >= LEAST else 0


def asking(step: int) -> list[str]:
    """
    The statements of a pass that ask for weights from `ahead` on; of small steps several ask for one line.
    """
    places = ["ahead" if place == 0 else f"ahead + {place}" for place in range(0, step, LINE)]
    return [*(f"prefetch(weight, {place})" for place in places), f"ahead += {step}"]
