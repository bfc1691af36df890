"""
The layers of pendulum.

One function each, written for these shapes. Every layer is here twice: for one observation, whose features lie side by
side in the lanes of registers, and, named `_block`, for LANES observations at once, one in each lane. A kernel reads
and writes through pointers: into the weights, which model.bin holds, and into a workspace in which every value has its
own place.
"""

from typing import TypeAlias

import numpy as np

from .jit import inline, kernel
from .simd import (
    LANES,
    ROUND,
    Pointer,
    Vector,
    advance,
    fma,
    is_finite,
    load,
    load_scalar,
    power_of_two,
    put,
    select,
    splat,
    store,
    store_scalar,
    total,
)

WORKSPACE = 160
"""float32 that one observation needs for all values between its input and its action."""

ROOM = WORKSPACE * LANES + 16
"""float32 that a block needs, and some to begin at a whole cache line."""

WEIGHTS = 1376
"""float32 in the blob of weights."""

LEAST_BLOCK = 10
"""Observations from which on a block, even one that is not full, is faster than one observation after the other."""

WRONG_SIZE, NOT_FINITE, OVERFLOW, OUT_OF_RANGE = -1, -2, -3, -4
"""Why an entry point refuses: the number of values; NaN or infinity in what is given, or in the network's output; a
choice that there is not."""

Pointers: TypeAlias = tuple[Pointer, ...]


@inline
def exp(x: Vector) -> Vector:
    """
    The exponential e ** x within 2 ulp for x from -87 to 88; 0 below, infinite above. Source: Cephes, expf.
    """
    n = (x * 1.44269504088896341 + ROUND) - ROUND
    r = fma(n, splat(-0.693359375), x)
    r = fma(n, splat(2.12194440e-4), r)
    p = fma(r, splat(1.9875691500e-4), splat(1.3981999507e-3))
    p = fma(r, p, splat(8.3334519073e-3))
    p = fma(r, p, splat(4.1665795894e-2))
    p = fma(r, p, splat(1.6666665459e-1))
    p = fma(r, p, splat(5.0000001201e-1))
    result = (fma(r * r, p, r) + 1.0) * power_of_two(n)
    result = select(x > 88.0, splat(np.inf), result)
    return select(x < -87.0, splat(0.0), result)


@inline
def hardtanh(x: Vector, min_val: float, max_val: float) -> Vector:
    """
    The input clipped to [min_val, max_val].
    """
    x = select(x < min_val, splat(min_val), x)
    return select(x > max_val, splat(max_val), x)


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
    `actor.latent_pi.0`: 3 inputs, 32 outputs, then relu.

    The weight is (1, 3, 32): blocks of outputs, inputs, outputs.
    """
    a0_0 = load(bias, 0)
    a1_0 = load(bias, 16)
    a0_1 = splat(0.0)
    a1_1 = splat(0.0)
    a0_2 = splat(0.0)
    a1_2 = splat(0.0)
    for i in range(0, 3, 3):
        x = splat(load_scalar(source, i))
        a0_0 = fma(x, load(weight, i * 32), a0_0)
        a1_0 = fma(x, load(weight, i * 32 + 16), a1_0)
        x = splat(load_scalar(source, i + 1))
        a0_1 = fma(x, load(weight, (i + 1) * 32), a0_1)
        a1_1 = fma(x, load(weight, (i + 1) * 32 + 16), a1_1)
        x = splat(load_scalar(source, i + 2))
        a0_2 = fma(x, load(weight, (i + 2) * 32), a0_2)
        a1_2 = fma(x, load(weight, (i + 2) * 32 + 16), a1_2)
    store(target, 0, relu(a0_0 + a0_1 + a0_2))
    store(target, 16, relu(a1_0 + a1_1 + a1_2))


@kernel
def actor_latent_pi_0_block(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane; 16 outputs at a time.
    """
    for first in range(0, 32, 16):
        place = first
        a0 = splat(load_scalar(bias, first))
        a1 = splat(load_scalar(bias, first + 1))
        a2 = splat(load_scalar(bias, first + 2))
        a3 = splat(load_scalar(bias, first + 3))
        a4 = splat(load_scalar(bias, first + 4))
        a5 = splat(load_scalar(bias, first + 5))
        a6 = splat(load_scalar(bias, first + 6))
        a7 = splat(load_scalar(bias, first + 7))
        a8 = splat(load_scalar(bias, first + 8))
        a9 = splat(load_scalar(bias, first + 9))
        a10 = splat(load_scalar(bias, first + 10))
        a11 = splat(load_scalar(bias, first + 11))
        a12 = splat(load_scalar(bias, first + 12))
        a13 = splat(load_scalar(bias, first + 13))
        a14 = splat(load_scalar(bias, first + 14))
        a15 = splat(load_scalar(bias, first + 15))
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
            a8 = fma(x, splat(load_scalar(weight, place + 8)), a8)
            a9 = fma(x, splat(load_scalar(weight, place + 9)), a9)
            a10 = fma(x, splat(load_scalar(weight, place + 10)), a10)
            a11 = fma(x, splat(load_scalar(weight, place + 11)), a11)
            a12 = fma(x, splat(load_scalar(weight, place + 12)), a12)
            a13 = fma(x, splat(load_scalar(weight, place + 13)), a13)
            a14 = fma(x, splat(load_scalar(weight, place + 14)), a14)
            a15 = fma(x, splat(load_scalar(weight, place + 15)), a15)
            place += 32
        store(target, first * LANES, relu(a0))
        store(target, (first + 1) * LANES, relu(a1))
        store(target, (first + 2) * LANES, relu(a2))
        store(target, (first + 3) * LANES, relu(a3))
        store(target, (first + 4) * LANES, relu(a4))
        store(target, (first + 5) * LANES, relu(a5))
        store(target, (first + 6) * LANES, relu(a6))
        store(target, (first + 7) * LANES, relu(a7))
        store(target, (first + 8) * LANES, relu(a8))
        store(target, (first + 9) * LANES, relu(a9))
        store(target, (first + 10) * LANES, relu(a10))
        store(target, (first + 11) * LANES, relu(a11))
        store(target, (first + 12) * LANES, relu(a12))
        store(target, (first + 13) * LANES, relu(a13))
        store(target, (first + 14) * LANES, relu(a14))
        store(target, (first + 15) * LANES, relu(a15))


@kernel
def actor_latent_pi_2(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    `actor.latent_pi.2`: 32 inputs, 32 outputs, then relu.

    The weight is (1, 32, 32): blocks of outputs, inputs, outputs.
    """
    a0_0 = load(bias, 0)
    a1_0 = load(bias, 16)
    a0_1 = splat(0.0)
    a1_1 = splat(0.0)
    a0_2 = splat(0.0)
    a1_2 = splat(0.0)
    a0_3 = splat(0.0)
    a1_3 = splat(0.0)
    for i in range(0, 32, 4):
        x = splat(load_scalar(source, i))
        a0_0 = fma(x, load(weight, i * 32), a0_0)
        a1_0 = fma(x, load(weight, i * 32 + 16), a1_0)
        x = splat(load_scalar(source, i + 1))
        a0_1 = fma(x, load(weight, (i + 1) * 32), a0_1)
        a1_1 = fma(x, load(weight, (i + 1) * 32 + 16), a1_1)
        x = splat(load_scalar(source, i + 2))
        a0_2 = fma(x, load(weight, (i + 2) * 32), a0_2)
        a1_2 = fma(x, load(weight, (i + 2) * 32 + 16), a1_2)
        x = splat(load_scalar(source, i + 3))
        a0_3 = fma(x, load(weight, (i + 3) * 32), a0_3)
        a1_3 = fma(x, load(weight, (i + 3) * 32 + 16), a1_3)
    store(target, 0, relu(a0_0 + a0_1 + a0_2 + a0_3))
    store(target, 16, relu(a1_0 + a1_1 + a1_2 + a1_3))


@kernel
def actor_latent_pi_2_block(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane; 16 outputs at a time.
    """
    for first in range(0, 32, 16):
        place = first
        a0 = splat(load_scalar(bias, first))
        a1 = splat(load_scalar(bias, first + 1))
        a2 = splat(load_scalar(bias, first + 2))
        a3 = splat(load_scalar(bias, first + 3))
        a4 = splat(load_scalar(bias, first + 4))
        a5 = splat(load_scalar(bias, first + 5))
        a6 = splat(load_scalar(bias, first + 6))
        a7 = splat(load_scalar(bias, first + 7))
        a8 = splat(load_scalar(bias, first + 8))
        a9 = splat(load_scalar(bias, first + 9))
        a10 = splat(load_scalar(bias, first + 10))
        a11 = splat(load_scalar(bias, first + 11))
        a12 = splat(load_scalar(bias, first + 12))
        a13 = splat(load_scalar(bias, first + 13))
        a14 = splat(load_scalar(bias, first + 14))
        a15 = splat(load_scalar(bias, first + 15))
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
            a8 = fma(x, splat(load_scalar(weight, place + 8)), a8)
            a9 = fma(x, splat(load_scalar(weight, place + 9)), a9)
            a10 = fma(x, splat(load_scalar(weight, place + 10)), a10)
            a11 = fma(x, splat(load_scalar(weight, place + 11)), a11)
            a12 = fma(x, splat(load_scalar(weight, place + 12)), a12)
            a13 = fma(x, splat(load_scalar(weight, place + 13)), a13)
            a14 = fma(x, splat(load_scalar(weight, place + 14)), a14)
            a15 = fma(x, splat(load_scalar(weight, place + 15)), a15)
            place += 32
        store(target, first * LANES, relu(a0))
        store(target, (first + 1) * LANES, relu(a1))
        store(target, (first + 2) * LANES, relu(a2))
        store(target, (first + 3) * LANES, relu(a3))
        store(target, (first + 4) * LANES, relu(a4))
        store(target, (first + 5) * LANES, relu(a5))
        store(target, (first + 6) * LANES, relu(a6))
        store(target, (first + 7) * LANES, relu(a7))
        store(target, (first + 8) * LANES, relu(a8))
        store(target, (first + 9) * LANES, relu(a9))
        store(target, (first + 10) * LANES, relu(a10))
        store(target, (first + 11) * LANES, relu(a11))
        store(target, (first + 12) * LANES, relu(a12))
        store(target, (first + 13) * LANES, relu(a13))
        store(target, (first + 14) * LANES, relu(a14))
        store(target, (first + 15) * LANES, relu(a15))


@kernel
def actor_mu(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    `actor.mu`: 32 inputs, 1 outputs.

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
    `action_dist.mode`: tanh of 1 values.
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
    `unscale_action`: rescale of 1 values.

    Low + 0.5 * (x + 1) * (high - low), in float32.
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
def actor_log_std(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    `actor.log_std`: 32 inputs, 1 outputs, then hardtanh.

    The weight is (1, 32): outputs, inputs padded with zeros.
    """
    a0 = splat(0.0)
    for i in range(0, 32, LANES):
        x = load(source, i)
        a0 = fma(x, load(weight, i), a0)
    result = splat(0.0)
    result = put(result, 0, total(a0))
    store(target, 0, hardtanh(result + load(bias, 0), -20.0, 2.0))


@kernel
def actor_log_std_block(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane.
    """
    a0 = splat(load_scalar(bias, 0))
    for i in range(32):
        x = load(source, i * LANES)
        a0 = fma(x, splat(load_scalar(weight, i)), a0)
    store(target, 0, hardtanh(a0, -20.0, 2.0))


@kernel
def actor_log_std_exp(source: Pointer, target: Pointer) -> None:
    """
    `actor.log_std.exp`: exp of 1 values.
    """
    for i in range(0, 16, LANES):
        store(target, i, exp(load(source, i)))


@kernel
def actor_log_std_exp_block(source: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane.
    """
    for i in range(1):
        store(target, i * LANES, exp(load(source, i * LANES)))


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
def transpose(source: Pointer, features: int, count: int, target: Pointer) -> None:
    """
    Puts what is given for `count` observations side by side, one in each lane; the other lanes repeat the first.
    """
    for i in range(features):
        for lane in range(count):
            store_scalar(target, i * LANES + lane, load_scalar(source, lane * features + i))
        for lane in range(count, LANES):
            store_scalar(target, i * LANES + lane, load_scalar(source, i))


@kernel
def at(row: int, rows: int, arrays: Pointers) -> Pointers:
    """
    Where the inputs of one of `rows` observations begin.
    """
    (observation,) = arrays
    return (advance(observation, row * 3),)


@kernel
def check(first: int, last: int, rows: int, arrays: Pointers) -> int:
    """
    0 if the inputs of observations `first` to `last` can be computed with, or why not.
    """
    (observation,) = at(first, rows, arrays)
    if not finite(observation, (last - first) * 3):
        return NOT_FINITE
    return 0


@kernel
def policy(inputs: Pointers, weights: Pointer, work: Pointer) -> None:
    """
    All layers for one observation.
    """
    (observation,) = inputs
    actor_latent_pi_0(observation, weights, advance(weights, 96), advance(work, 16))
    actor_latent_pi_2(advance(work, 16), advance(weights, 128), advance(weights, 1152), advance(work, 48))
    actor_mu(advance(work, 48), advance(weights, 1184), advance(weights, 1216), advance(work, 80))
    action_dist_mode(advance(work, 80), advance(work, 96))
    unscale_action(advance(work, 96), advance(weights, 1280), advance(weights, 1296), advance(work, 112))


@kernel
def continue_policy(inputs: Pointers, weights: Pointer, work: Pointer) -> None:
    """
    The layers that neither action nor scores need, for one observation, after all others.
    """
    actor_log_std(advance(work, 48), advance(weights, 1232), advance(weights, 1264), advance(work, 128))
    actor_log_std_exp(advance(work, 128), advance(work, 144))


@kernel
def policy_block(weights: Pointer, work: Pointer) -> None:
    """
    All layers for LANES observations, one in each lane.
    """
    actor_latent_pi_0_block(work, weights, advance(weights, 96), advance(work, 16 * LANES))
    actor_latent_pi_2_block(
        advance(work, 16 * LANES), advance(weights, 128), advance(weights, 1152), advance(work, 48 * LANES)
    )
    actor_mu_block(advance(work, 48 * LANES), advance(weights, 1184), advance(weights, 1216), advance(work, 80 * LANES))
    action_dist_mode_block(advance(work, 80 * LANES), advance(work, 96 * LANES))
    unscale_action_block(
        advance(work, 96 * LANES), advance(weights, 1280), advance(weights, 1296), advance(work, 112 * LANES)
    )


@kernel
def infer(arrays: Pointers, weights: Pointer, work: Pointer) -> int:
    """
    All layers for one observation; 0, or why it is refused.
    """
    status = check(0, 1, 1, arrays)
    if status != 0:
        return status
    policy(at(0, 1, arrays), weights, work)
    if not finite(advance(work, 80), 1):
        return OVERFLOW
    return 0


@kernel
def give(row: int, rows: int, scored: bool, results: Pointers, work: Pointer) -> None:
    """
    Copies what was computed for one of `rows` observations to the caller's arrays.
    """
    actions, scores = results
    source = advance(work, 112)
    for i in range(1):
        chosen = load_scalar(source, i)
        store_scalar(actions, row + i, chosen)
    if scored:
        source = advance(work, 80)
        for i in range(1):
            store_scalar(scores, row + i, load_scalar(source, i))


@kernel
def give_block(row: int, count: int, rows: int, scored: bool, results: Pointers, work: Pointer) -> None:
    """
    The same for `count` observations from `row` on, one in each lane.
    """
    actions, scores = results
    for lane in range(count):
        source = advance(work, 112 * LANES)
        for i in range(1):
            chosen = load_scalar(source, i * LANES + lane)
            store_scalar(actions, row + lane + i, chosen)
    if scored:
        source = advance(work, 80 * LANES)
        for lane in range(count):
            for i in range(1):
                value = load_scalar(source, i * LANES + lane)
                store_scalar(scores, row + lane + i, value)


@kernel
def infer_row(
    row: int, rows: int, arrays: Pointers, weights: Pointer, scored: bool, results: Pointers, work: Pointer
) -> bool:
    """
    The action for one of many observations, and its scores where they are asked for; whether all is finite.
    """
    policy(at(row, rows, arrays), weights, work)
    give(row, rows, scored, results, work)
    return finite(advance(work, 80), 1)


@kernel
def infer_block(
    row: int,
    count: int,
    rows: int,
    arrays: Pointers,
    weights: Pointer,
    scored: bool,
    results: Pointers,
    room: Pointer,
) -> bool:
    """
    The same for up to LANES observations from `row` on.
    """
    work = room
    (observation,) = at(row, rows, arrays)
    transpose(observation, 3, count, work)
    policy_block(weights, work)
    give_block(row, count, rows, scored, results, work)
    return finite(advance(work, 80 * LANES), 1 * LANES)


@kernel
def infer_rows(
    first: int,
    last: int,
    rows: int,
    arrays: Pointers,
    weights: Pointer,
    scored: bool,
    results: Pointers,
    room: Pointer,
) -> int:
    """
    Observations `first` to `last`: in blocks as long as that is faster than one by one; 0, or why they are refused.
    """
    status = check(first, last, rows, arrays)
    if status != 0:
        return status
    row = first
    good = True
    while last - row >= LEAST_BLOCK:
        count = min(LANES, last - row)
        good = infer_block(row, count, rows, arrays, weights, scored, results, room) and good
        row += LANES
    while row < last:
        good = infer_row(row, rows, arrays, weights, scored, results, room) and good
        row += 1
    return 0 if good else OVERFLOW


@kernel
def infer_extras(rows: int, arrays: Pointers, weights: Pointer, extras: Pointer, work: Pointer) -> int:
    """
    What is computed besides actions and scores, for all observations, one after the other; 0, or why they are refused.
    """
    status = check(0, rows, rows, arrays)
    if status != 0:
        return status
    target = extras
    for row in range(rows):
        inputs = at(row, rows, arrays)
        policy(inputs, weights, work)
        continue_policy(inputs, weights, work)
        source = advance(work, 144)
        for i in range(1):
            store_scalar(target, i, load_scalar(source, i))
        target = advance(target, 1)
    return 0
