"""
The layers of cartpole_policy.

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
    Pointer,
    Vector,
    advance,
    fma,
    is_finite,
    load,
    load_scalar,
    put,
    select,
    splat,
    store,
    store_integer,
    store_scalar,
    total,
)

WORKSPACE = 176
"""float32 that one observation needs for all values between its input and its action."""

ROOM = WORKSPACE * LANES + 16
"""float32 that a block needs, and some to begin at a whole cache line."""

WEIGHTS = 4656
"""float32 in the blob of weights."""

LEAST_BLOCK = 10
"""Observations from which on a block, even one that is not full, is faster than one observation after the other."""

WRONG_SIZE, NOT_FINITE, OVERFLOW, OUT_OF_RANGE = -1, -2, -3, -4
"""Why an entry point refuses: the number of values; NaN or infinity in what is given, or in the network's output; a
choice that there is not."""

Pointers: TypeAlias = tuple[Pointer, ...]


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
def mlp_extractor_policy_net_0(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    `mlp_extractor.policy_net.0`: 4 inputs, 64 outputs, then tanh.

    The weight is (1, 4, 64): blocks of outputs, inputs, outputs.
    """
    a0_0 = load(bias, 0)
    a1_0 = load(bias, 16)
    a2_0 = load(bias, 32)
    a3_0 = load(bias, 48)
    a0_1 = splat(0.0)
    a1_1 = splat(0.0)
    a2_1 = splat(0.0)
    a3_1 = splat(0.0)
    for i in range(0, 4, 2):
        x = splat(load_scalar(source, i))
        a0_0 = fma(x, load(weight, i * 64), a0_0)
        a1_0 = fma(x, load(weight, i * 64 + 16), a1_0)
        a2_0 = fma(x, load(weight, i * 64 + 32), a2_0)
        a3_0 = fma(x, load(weight, i * 64 + 48), a3_0)
        x = splat(load_scalar(source, i + 1))
        a0_1 = fma(x, load(weight, (i + 1) * 64), a0_1)
        a1_1 = fma(x, load(weight, (i + 1) * 64 + 16), a1_1)
        a2_1 = fma(x, load(weight, (i + 1) * 64 + 32), a2_1)
        a3_1 = fma(x, load(weight, (i + 1) * 64 + 48), a3_1)
    store(target, 0, tanh(a0_0 + a0_1))
    store(target, 16, tanh(a1_0 + a1_1))
    store(target, 32, tanh(a2_0 + a2_1))
    store(target, 48, tanh(a3_0 + a3_1))


@kernel
def mlp_extractor_policy_net_0_block(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane; 16 outputs at a time.
    """
    for first in range(0, 64, 16):
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
        for i in range(4):
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
            place += 64
        store(target, first * LANES, tanh(a0))
        store(target, (first + 1) * LANES, tanh(a1))
        store(target, (first + 2) * LANES, tanh(a2))
        store(target, (first + 3) * LANES, tanh(a3))
        store(target, (first + 4) * LANES, tanh(a4))
        store(target, (first + 5) * LANES, tanh(a5))
        store(target, (first + 6) * LANES, tanh(a6))
        store(target, (first + 7) * LANES, tanh(a7))
        store(target, (first + 8) * LANES, tanh(a8))
        store(target, (first + 9) * LANES, tanh(a9))
        store(target, (first + 10) * LANES, tanh(a10))
        store(target, (first + 11) * LANES, tanh(a11))
        store(target, (first + 12) * LANES, tanh(a12))
        store(target, (first + 13) * LANES, tanh(a13))
        store(target, (first + 14) * LANES, tanh(a14))
        store(target, (first + 15) * LANES, tanh(a15))


@kernel
def mlp_extractor_policy_net_2(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    `mlp_extractor.policy_net.2`: 64 inputs, 64 outputs, then tanh.

    The weight is (1, 64, 64): blocks of outputs, inputs, outputs.
    """
    a0_0 = load(bias, 0)
    a1_0 = load(bias, 16)
    a2_0 = load(bias, 32)
    a3_0 = load(bias, 48)
    a0_1 = splat(0.0)
    a1_1 = splat(0.0)
    a2_1 = splat(0.0)
    a3_1 = splat(0.0)
    for i in range(0, 64, 2):
        x = splat(load_scalar(source, i))
        a0_0 = fma(x, load(weight, i * 64), a0_0)
        a1_0 = fma(x, load(weight, i * 64 + 16), a1_0)
        a2_0 = fma(x, load(weight, i * 64 + 32), a2_0)
        a3_0 = fma(x, load(weight, i * 64 + 48), a3_0)
        x = splat(load_scalar(source, i + 1))
        a0_1 = fma(x, load(weight, (i + 1) * 64), a0_1)
        a1_1 = fma(x, load(weight, (i + 1) * 64 + 16), a1_1)
        a2_1 = fma(x, load(weight, (i + 1) * 64 + 32), a2_1)
        a3_1 = fma(x, load(weight, (i + 1) * 64 + 48), a3_1)
    store(target, 0, tanh(a0_0 + a0_1))
    store(target, 16, tanh(a1_0 + a1_1))
    store(target, 32, tanh(a2_0 + a2_1))
    store(target, 48, tanh(a3_0 + a3_1))


@kernel
def mlp_extractor_policy_net_2_block(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane; 16 outputs at a time.
    """
    for first in range(0, 64, 16):
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
        for i in range(64):
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
            place += 64
        store(target, first * LANES, tanh(a0))
        store(target, (first + 1) * LANES, tanh(a1))
        store(target, (first + 2) * LANES, tanh(a2))
        store(target, (first + 3) * LANES, tanh(a3))
        store(target, (first + 4) * LANES, tanh(a4))
        store(target, (first + 5) * LANES, tanh(a5))
        store(target, (first + 6) * LANES, tanh(a6))
        store(target, (first + 7) * LANES, tanh(a7))
        store(target, (first + 8) * LANES, tanh(a8))
        store(target, (first + 9) * LANES, tanh(a9))
        store(target, (first + 10) * LANES, tanh(a10))
        store(target, (first + 11) * LANES, tanh(a11))
        store(target, (first + 12) * LANES, tanh(a12))
        store(target, (first + 13) * LANES, tanh(a13))
        store(target, (first + 14) * LANES, tanh(a14))
        store(target, (first + 15) * LANES, tanh(a15))


@kernel
def action_net(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    `action_net`: 64 inputs, 2 outputs.

    The weight is (2, 64): outputs, inputs padded with zeros.
    """
    a0 = splat(0.0)
    a1 = splat(0.0)
    for i in range(0, 64, LANES):
        x = load(source, i)
        a0 = fma(x, load(weight, i), a0)
        a1 = fma(x, load(weight, i + 64), a1)
    result = splat(0.0)
    result = put(result, 0, total(a0))
    result = put(result, 1, total(a1))
    store(target, 0, result + load(bias, 0))


@kernel
def action_net_block(source: Pointer, weight: Pointer, bias: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane.
    """
    a0 = splat(load_scalar(bias, 0))
    a1 = splat(load_scalar(bias, 1))
    for i in range(64):
        x = load(source, i * LANES)
        a0 = fma(x, splat(load_scalar(weight, i)), a0)
        a1 = fma(x, splat(load_scalar(weight, i + 64)), a1)
    store(target, 0, a0)
    store(target, 1 * LANES, a1)


@kernel
def action_dist_mode(source: Pointer, target: Pointer) -> None:
    """
    `action_dist.mode`: argmax of 2 values.

    The first largest, NaN counting as largest.
    """
    best = load_scalar(source, 0)
    index = 0
    for i in range(1, 2):
        x = load_scalar(source, i)
        if x > best or (x != x and best == best):
            best = x
            index = i
    store_scalar(target, 0, np.float32(index))


@kernel
def action_dist_mode_block(source: Pointer, target: Pointer) -> None:
    """
    The same for LANES observations, one in each lane.
    """
    best = load(source, 0)
    index = splat(0.0)
    for i in range(1, 2):
        x = load(source, i * LANES)
        known = best == best  # a NaN that came before stays the largest
        index = select(known, select(x <= best, index, splat(np.float32(i))), index)
        best = select(known, select(x <= best, best, x), best)
    store(target, 0, index)


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
    return (advance(observation, row * 4),)


@kernel
def check(first: int, last: int, rows: int, arrays: Pointers) -> int:
    """
    0 if the inputs of observations `first` to `last` can be computed with, or why not.
    """
    (observation,) = at(first, rows, arrays)
    if not finite(observation, (last - first) * 4):
        return NOT_FINITE
    return 0


@kernel
def policy(inputs: Pointers, weights: Pointer, work: Pointer) -> None:
    """
    All layers for one observation.
    """
    (observation,) = inputs
    mlp_extractor_policy_net_0(observation, weights, advance(weights, 256), advance(work, 16))
    mlp_extractor_policy_net_2(advance(work, 16), advance(weights, 320), advance(weights, 4416), advance(work, 80))
    action_net(advance(work, 80), advance(weights, 4480), advance(weights, 4608), advance(work, 144))
    action_dist_mode(advance(work, 144), advance(work, 160))


@kernel
def policy_block(weights: Pointer, work: Pointer) -> None:
    """
    All layers for LANES observations, one in each lane.
    """
    mlp_extractor_policy_net_0_block(work, weights, advance(weights, 256), advance(work, 16 * LANES))
    mlp_extractor_policy_net_2_block(
        advance(work, 16 * LANES), advance(weights, 320), advance(weights, 4416), advance(work, 80 * LANES)
    )
    action_net_block(
        advance(work, 80 * LANES), advance(weights, 4480), advance(weights, 4608), advance(work, 144 * LANES)
    )
    action_dist_mode_block(advance(work, 144 * LANES), advance(work, 160 * LANES))


@kernel
def infer(arrays: Pointers, weights: Pointer, work: Pointer) -> int:
    """
    All layers for one observation; 0, or why it is refused.
    """
    status = check(0, 1, 1, arrays)
    if status != 0:
        return status
    policy(at(0, 1, arrays), weights, work)
    if not finite(advance(work, 144), 2):
        return OVERFLOW
    return 0


@kernel
def give(row: int, rows: int, scored: bool, results: Pointers, work: Pointer) -> None:
    """
    Copies what was computed for one of `rows` observations to the caller's arrays.
    """
    actions, scores = results
    source = advance(work, 160)
    for i in range(1):
        chosen = load_scalar(source, i)
        store_integer(actions, row + i, chosen)
    if scored:
        source = advance(work, 144)
        for i in range(2):
            store_scalar(scores, row * 2 + i, load_scalar(source, i))


@kernel
def give_block(row: int, count: int, rows: int, scored: bool, results: Pointers, work: Pointer) -> None:
    """
    The same for `count` observations from `row` on, one in each lane.
    """
    actions, scores = results
    for lane in range(count):
        source = advance(work, 160 * LANES)
        for i in range(1):
            chosen = load_scalar(source, i * LANES + lane)
            store_integer(actions, row + lane + i, chosen)
    if scored:
        source = advance(work, 144 * LANES)
        for lane in range(count):
            for i in range(2):
                value = load_scalar(source, i * LANES + lane)
                store_scalar(scores, (row + lane) * 2 + i, value)


@kernel
def infer_row(
    row: int, rows: int, arrays: Pointers, weights: Pointer, scored: bool, results: Pointers, work: Pointer
) -> bool:
    """
    The action for one of many observations, and its scores where they are asked for; whether all is finite.
    """
    policy(at(row, rows, arrays), weights, work)
    give(row, rows, scored, results, work)
    return finite(advance(work, 144), 2)


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
    transpose(observation, 4, count, work)
    policy_block(weights, work)
    give_block(row, count, rows, scored, results, work)
    return finite(advance(work, 144 * LANES), 2 * LANES)


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
