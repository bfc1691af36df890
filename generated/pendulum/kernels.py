"""
The layers of pendulum.

One function each, written for these shapes. Every layer is here twice: for one observation, whose features lie side by
side in the lanes of registers, and, named `_block`, for LANES observations at once, one in each lane. A kernel reads
and writes through pointers: into the weights, which model.bin holds, and into a workspace in which every value has its
own place.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import entry, inline, kernel
from .lowering import BUFFER, NUMBER
from .simd import (
    LANES,
    Pointer,
    Vector,
    address,
    advance,
    align,
    floats,
    fma,
    is_finite,
    load,
    load_scalar,
    pointer,
    put,
    select,
    splat,
    store,
    store_scalar,
    total,
    workspace,
)

WORKSPACE = 128
"""float32 that one observation needs for all values between its input and its action."""

ROOM = WORKSPACE * LANES + 16
"""float32 that a block needs, and some to begin at a whole cache line."""

WEIGHTS = 1328
"""float32 in the blob of weights."""

LEAST_BLOCK = 10
"""Observations from which on a block, even one that is not full, is faster than one observation after the other."""

WRONG_SIZE, NOT_FINITE, OVERFLOW = -1, -2, -3
"""Why an entry point refuses: the number of values; NaN or infinity in the observation, or in the network's output."""


@inline
def relu(x: Vector) -> Vector:
    """
    max(x, 0); NaN stays NaN.
    """
    return select(x < 0.0, splat(0.0), x)


@inline
def tanh(x: Vector) -> Vector:
    """
    The hyperbolic tangent within 5 ulp: an odd rational function, clamped where it rounds to 1. Source: Eigen.
    """
    x = select(x > 7.99881172180175781, splat(7.99881172180175781), x)
    x = select(x < -7.99881172180175781, splat(-7.99881172180175781), x)
    s = x * x
    p = fma(s, splat(-2.76076847742355e-16), splat(2.00018790482477e-13))
    p = fma(s, p, splat(-8.60467152213735e-11))
    p = fma(s, p, splat(5.12229709037114e-08))
    p = fma(s, p, splat(1.48572235717979e-05))
    p = fma(s, p, splat(6.37261928875436e-04))
    p = fma(s, p, splat(4.89352455891786e-03))
    q = fma(s, splat(1.19825839466702e-06), splat(1.18534705686654e-04))
    q = fma(s, q, splat(2.26843463243900e-03))
    q = fma(s, q, splat(4.89352518554385e-03))
    return x * p / q


@kernel
def actor_latent_pi_0(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    actor.latent_pi.0: 3 inputs, 32 outputs, then relu.

    The weight is (1, 3, 32): blocks of outputs, inputs, outputs.
    """
    a0_0 = load(bias, 0)
    a1_0 = load(bias, 16)
    a0_1 = splat(0.0)
    a1_1 = splat(0.0)
    for i in range(0, 2, 2):
        x = splat(load_scalar(source, i))
        a0_0 = fma(x, load(weight, i * 32), a0_0)
        a1_0 = fma(x, load(weight, i * 32 + 16), a1_0)
        x = splat(load_scalar(source, i + 1))
        a0_1 = fma(x, load(weight, (i + 1) * 32), a0_1)
        a1_1 = fma(x, load(weight, (i + 1) * 32 + 16), a1_1)
    x = splat(load_scalar(source, 2))
    a0_0 = fma(x, load(weight, 64), a0_0)
    a1_0 = fma(x, load(weight, 80), a1_0)
    store(target, 0, relu(a0_0 + a0_1))
    store(target, 16, relu(a1_0 + a1_1))


@kernel
def actor_latent_pi_0_block(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane; 8 outputs at a time.
    """
    for first in range(0, 32, 8):
        place = first
        a0 = splat(load_scalar(bias, first))
        a1 = splat(load_scalar(bias, first + 1))
        a2 = splat(load_scalar(bias, first + 2))
        a3 = splat(load_scalar(bias, first + 3))
        a4 = splat(load_scalar(bias, first + 4))
        a5 = splat(load_scalar(bias, first + 5))
        a6 = splat(load_scalar(bias, first + 6))
        a7 = splat(load_scalar(bias, first + 7))
        for i in range(3):
            x = load(source, i * LANES)
            a0 = fma(x, splat(load_scalar(weight, place)), a0)
            a1 = fma(x, splat(load_scalar(weight, place + 1)), a1)
            a2 = fma(x, splat(load_scalar(weight, place + 2)), a2)
            a3 = fma(x, splat(load_scalar(weight, place + 3)), a3)
            a4 = fma(x, splat(load_scalar(weight, place + 4)), a4)
            a5 = fma(x, splat(load_scalar(weight, place + 5)), a5)
            a6 = fma(x, splat(load_scalar(weight, place + 6)), a6)
            a7 = fma(x, splat(load_scalar(weight, place + 7)), a7)
            place += 32
        store(target, first * LANES, relu(a0))
        store(target, (first + 1) * LANES, relu(a1))
        store(target, (first + 2) * LANES, relu(a2))
        store(target, (first + 3) * LANES, relu(a3))
        store(target, (first + 4) * LANES, relu(a4))
        store(target, (first + 5) * LANES, relu(a5))
        store(target, (first + 6) * LANES, relu(a6))
        store(target, (first + 7) * LANES, relu(a7))


@kernel
def actor_latent_pi_2(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    actor.latent_pi.2: 32 inputs, 32 outputs, then relu.

    The weight is (1, 32, 32): blocks of outputs, inputs, outputs.
    """
    a0_0 = load(bias, 0)
    a1_0 = load(bias, 16)
    a0_1 = splat(0.0)
    a1_1 = splat(0.0)
    for i in range(0, 32, 2):
        x = splat(load_scalar(source, i))
        a0_0 = fma(x, load(weight, i * 32), a0_0)
        a1_0 = fma(x, load(weight, i * 32 + 16), a1_0)
        x = splat(load_scalar(source, i + 1))
        a0_1 = fma(x, load(weight, (i + 1) * 32), a0_1)
        a1_1 = fma(x, load(weight, (i + 1) * 32 + 16), a1_1)
    store(target, 0, relu(a0_0 + a0_1))
    store(target, 16, relu(a1_0 + a1_1))


@kernel
def actor_latent_pi_2_block(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane; 8 outputs at a time.
    """
    for first in range(0, 32, 8):
        place = first
        a0 = splat(load_scalar(bias, first))
        a1 = splat(load_scalar(bias, first + 1))
        a2 = splat(load_scalar(bias, first + 2))
        a3 = splat(load_scalar(bias, first + 3))
        a4 = splat(load_scalar(bias, first + 4))
        a5 = splat(load_scalar(bias, first + 5))
        a6 = splat(load_scalar(bias, first + 6))
        a7 = splat(load_scalar(bias, first + 7))
        for i in range(32):
            x = load(source, i * LANES)
            a0 = fma(x, splat(load_scalar(weight, place)), a0)
            a1 = fma(x, splat(load_scalar(weight, place + 1)), a1)
            a2 = fma(x, splat(load_scalar(weight, place + 2)), a2)
            a3 = fma(x, splat(load_scalar(weight, place + 3)), a3)
            a4 = fma(x, splat(load_scalar(weight, place + 4)), a4)
            a5 = fma(x, splat(load_scalar(weight, place + 5)), a5)
            a6 = fma(x, splat(load_scalar(weight, place + 6)), a6)
            a7 = fma(x, splat(load_scalar(weight, place + 7)), a7)
            place += 32
        store(target, first * LANES, relu(a0))
        store(target, (first + 1) * LANES, relu(a1))
        store(target, (first + 2) * LANES, relu(a2))
        store(target, (first + 3) * LANES, relu(a3))
        store(target, (first + 4) * LANES, relu(a4))
        store(target, (first + 5) * LANES, relu(a5))
        store(target, (first + 6) * LANES, relu(a6))
        store(target, (first + 7) * LANES, relu(a7))


@kernel
def actor_mu(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    actor.mu: 32 inputs, 1 outputs.

    The weight is (1, 32): outputs, inputs padded with zeros.
    """
    a0 = splat(0.0)
    for i in range(0, 32, LANES):
        x = load(source, i)
        a0 = fma(x, load(weight, i), a0)
    result = splat(0.0)
    result = put(result, 0, total(a0))
    store(target, 0, result + load(bias, 0))


@kernel
def actor_mu_block(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane.
    """
    a0 = splat(load_scalar(bias, 0))
    for i in range(32):
        x = load(source, i * LANES)
        a0 = fma(x, splat(load_scalar(weight, i)), a0)
    store(target, 0, a0)


@kernel
def action_dist_mode(source: Pointer, target: Pointer) -> None:
    """
    action_dist.mode: tanh of 1 values.
    """
    for i in range(0, 16, LANES):
        store(target, i, tanh(load(source, i)))


@kernel
def action_dist_mode_block(source: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane.
    """
    for i in range(1):
        store(target, i * LANES, tanh(load(source, i * LANES)))


@kernel
def unscale_action(source: Pointer, low: Pointer, high: Pointer, target: Pointer) -> None:
    """
    unscale_action: rescale of 1 values: low + 0.5 * (x + 1) * (high - low), in float32.
    """
    for i in range(1):
        part = np.float32(0.5) * (load_scalar(source, i) + np.float32(1))
        lowest = load_scalar(low, i)
        store_scalar(target, i, lowest + part * (load_scalar(high, i) - lowest))


@kernel
def unscale_action_block(source: Pointer, low: Pointer, high: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane.
    """
    for i in range(1):
        lowest = load_scalar(low, i)
        width = load_scalar(high, i) - lowest
        for place in range(i * LANES, i * LANES + LANES):
            part = np.float32(0.5) * (load_scalar(source, place) + np.float32(1))
            store_scalar(target, place, lowest + part * width)


@kernel
def finite(source: Pointer, count: int) -> bool:
    """
    Whether none of `count` values is NaN or infinite.
    """
    whole = count - count % LANES
    for i in range(0, whole, LANES):
        if not is_finite(load(source, i)):
            return False
    for i in range(whole, count):
        x = load_scalar(source, i)
        if x - x != 0:
            return False
    return True


@kernel
def stage(source: Pointer, count: int, room: int, target: Pointer) -> None:
    """
    Copies an observation to where registers may read beyond its end: zeros there.
    """
    for i in range(count):
        store_scalar(target, i, load_scalar(source, i))
    for i in range(count, room):
        store_scalar(target, i, np.float32(0))


@kernel
def transpose(source: Pointer, count: int, target: Pointer) -> None:
    """
    Puts `count` observations side by side, one in each lane; lanes without an observation repeat the first.
    """
    for i in range(3):
        for lane in range(count):
            store_scalar(target, i * LANES + lane, load_scalar(source, lane * 3 + i))
        for lane in range(count, LANES):
            store_scalar(target, i * LANES + lane, load_scalar(source, i))


@kernel
def policy(observation: Pointer, weights: Pointer, work: Pointer) -> None:
    """
    All layers for one observation.
    """
    actor_latent_pi_0(observation, weights, advance(weights, 96), advance(work, 16))
    actor_latent_pi_2(advance(work, 16), advance(weights, 128), advance(weights, 1152), advance(work, 48))
    actor_mu(advance(work, 48), advance(weights, 1184), advance(weights, 1216), advance(work, 80))
    action_dist_mode(advance(work, 80), advance(work, 96))
    unscale_action(advance(work, 96), advance(weights, 1232), advance(weights, 1248), advance(work, 112))


@kernel
def policy_block(weights: Pointer, work: Pointer) -> None:
    """
    All layers for LANES observations, which `transpose` has put at the beginning of the workspace.
    """
    actor_latent_pi_0_block(work, weights, advance(weights, 96), advance(work, 16 * LANES))
    actor_latent_pi_2_block(
        advance(work, 16 * LANES), advance(weights, 128), advance(weights, 1152), advance(work, 48 * LANES)
    )
    actor_mu_block(advance(work, 48 * LANES), advance(weights, 1184), advance(weights, 1216), advance(work, 80 * LANES))
    action_dist_mode_block(advance(work, 80 * LANES), advance(work, 96 * LANES))
    unscale_action_block(
        advance(work, 96 * LANES), advance(weights, 1232), advance(weights, 1248), advance(work, 112 * LANES)
    )


@kernel
def infer(observation: Pointer, weights: Pointer, work: Pointer) -> int:
    """
    All layers for one observation; 0, or why it is refused.
    """
    if not finite(observation, 3):
        return NOT_FINITE
    policy(observation, weights, work)
    if not finite(advance(work, 80), 1):
        return OVERFLOW
    return 0


@kernel
def infer_row(
    row: int, rows: Pointer, weights: Pointer, scored: bool, scores: Pointer, actions: Pointer, work: Pointer
) -> bool:
    """
    The action for one of many observations, and its scores where they are asked for; whether all is finite.
    """
    policy(advance(rows, row * 3), weights, work)
    score, action = advance(work, 80), advance(work, 112)
    for i in range(1):
        chosen = load_scalar(action, i)
        store_scalar(actions, row + i, chosen)
    if scored:
        for i in range(1):
            store_scalar(scores, row + i, load_scalar(score, i))
    return finite(score, 1)


@kernel
def infer_block(
    row: int,
    count: int,
    rows: Pointer,
    weights: Pointer,
    scored: bool,
    scores: Pointer,
    actions: Pointer,
    work: Pointer,
) -> bool:
    """
    The same for up to LANES observations from `row` on.
    """
    transpose(advance(rows, row * 3), count, work)
    policy_block(weights, work)
    score, action = advance(work, 80 * LANES), advance(work, 112 * LANES)
    for lane in range(count):
        for i in range(1):
            chosen = load_scalar(action, i * LANES + lane)
            store_scalar(actions, row + lane + i, chosen)
    if scored:
        for lane in range(count):
            for i in range(1):
                value = load_scalar(score, i * LANES + lane)
                store_scalar(scores, row + lane + i, value)
    return finite(score, 1 * LANES)


@kernel
def infer_rows(
    first: int,
    last: int,
    rows: Pointer,
    weights: Pointer,
    scored: bool,
    scores: Pointer,
    actions: Pointer,
    work: Pointer,
) -> int:
    """
    Observations `first` to `last`: in blocks as long as that is faster than one by one; 0, or why they are refused.
    """
    if not finite(advance(rows, first * 3), (last - first) * 3):
        return NOT_FINITE
    row = first
    good = True
    while last - row >= LEAST_BLOCK:
        good = infer_block(row, min(LANES, last - row), rows, weights, scored, scores, actions, work) and good
        row += LANES
    while row < last:
        good = infer_row(row, rows, weights, scored, scores, actions, work) and good
        row += 1
    return 0 if good else OVERFLOW


@entry(BUFFER, NUMBER, BUFFER, BUFFER, BUFFER)
def predict_rows(
    rows: NDArray[np.float32],
    weights: int,
    scores: NDArray[np.float32],
    actions: NDArray[np.float32],
    room: NDArray[np.float32],
) -> int:
    """
    Actions, and scores if there is room for them, for all observations; 0, or why they are refused.
    """
    if floats(rows) < 0:
        return WRONG_SIZE
    count, scored = floats(rows) // 3, floats(scores) > 0
    blob, work = pointer(weights, WEIGHTS), align(address(room))
    return infer_rows(0, count, address(rows), blob, scored, address(scores), address(actions), work)


@entry(BUFFER, NUMBER, BUFFER, release_lock=False)
def act_one(
    observation: Any,
    weights: int,
    actions: NDArray[np.float32],
) -> int:
    """
    Writes the action for one observation; 0, or why it is refused.
    """
    if floats(observation) != 3:
        return WRONG_SIZE
    work = workspace(WORKSPACE)
    status = infer(address(observation), pointer(weights, WEIGHTS), work)
    action, result = advance(work, 112), address(actions)
    for i in range(1):
        store_scalar(result, i, load_scalar(action, i))
    return status
