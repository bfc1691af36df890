"""
The kernel of attention: for each query the values are added up key by key, weighted, without room for all weights.
"""

from collections.abc import Sequence

from compiler.codegen.body import Body, Operand, broadcast, place_of, strides_of, sum_of
from compiler.codegen.product_kernels import advanced
from compiler.codegen.sums import begin_chains, chains_of, end_chains, run_chains
from compiler.ir import Node


def write_attention(body: Body, node: Node, inputs: Sequence[Operand], result: Operand) -> None:
    """
    Writes a kernel that goes through the keys of a query, LANES at once.

    The result's row holds the sum of the values so far, weighted by e ** (score - largest), where `largest` is the
    largest score so far: when a larger one comes, all before become smaller. Source: Milakov and Gimelshein, Online
    normalizer calculation for softmax.
    """
    queries, keys, values = inputs[:3]
    mask = inputs[3] if len(inputs) > 3 else None
    scale, causal = node.attributes["scale"], bool(node.attributes["causal"])
    assert isinstance(scale, float)
    *batch, count, width = queries.dims
    length, wide = values.dims[-2:]
    sizes = {"query": count * width, "key": length * width, "value": length * wide, "result": count * wide}
    with body.loops("b", batch) as variables:
        for name, operand in (("query", queries), ("key", keys), ("value", values), ("result", result)):
            place = place_of(variables, [stride * sizes[name] for stride in strides_of(batch)])
            body.add(f"{name} = {advanced(operand.name, place)}")
        with body.loop("query_row", count) as i:
            body.add(f"largest, whole = splat({'-np.inf'}), splat(0.0)")
            row = sum_of((i, wide))
            for at, lanes in body.pieces(wide, "j"):
                body.store("result", sum_of((row, 1), (at, 1)), lanes, "splat(0.0)")
            masked = _mask_row(body, mask, [*variables, i], [*batch, count, length])
            for start, lanes in body.pieces(length, "first"):
                with body.block(f"if {start} <= {i}:" if causal and start != "0" else ""):
                    _write_keys(body, i, start, lanes, width, length, scale, causal, masked)
                    _write_values(body, row, start, lanes, wide)
            body.add("whole = select(whole == 0.0, splat(1.0), whole)")
            for at, lanes in body.pieces(wide, "j"):
                place = sum_of((row, 1), (at, 1))
                body.store("result", place, lanes, f"{body.load('result', place, lanes)} / whole")


def _mask_row(body: Body, mask: Operand | None, variables: list[str], wanted: list[int]) -> int | None:
    """
    Writes the pointer to what is added to the scores of a query; returns the distance from one key to the next.
    """
    if mask is None:
        return None
    *strides, step = broadcast(mask.dims, wanted)
    body.add(f"added = {advanced(mask.name, place_of(variables, strides))}")
    return step


def _write_keys(
    body: Body, i: str, start: str, lanes: int, width: int, length: int, scale: float, causal: bool, masked: int | None
) -> None:
    """
    Writes the scores of some keys, one in each lane, and what they and all before them weigh.
    """
    body.add("scores = splat(-np.inf)")
    with body.block(f"for k in range({'LANES' if lanes == body.lanes else lanes}):"):
        body.add(f"near = {advanced('key', sum_of((start, width), ('k', width)))}")
        chains = chains_of(body, width)
        begin_chains(body, chains)

        def step(a: str, place: str, count: int) -> list[str]:
            query, key = body.load("query", sum_of((i, width), (place, 1)), count), body.load("near", place, count)
            return [f"{a} = fma({query}, {key}, {a})"]

        run_chains(body, width, chains, step)
        end_chains(body, chains)
        body.add("scores = put(scores, k, total(a0))")
    if scale != 1.0:
        body.add(f"scores = scores * {scale!r}")
    if masked is not None:
        place = sum_of((start, masked))
        text = body.load("added", place, lanes) if masked else f"splat(load_scalar(added, {place}))"
        body.add(f"scores = scores + {text}")
    if lanes < body.lanes:
        body.add(f"scores = select(between(0, {lanes}), scores, splat(-np.inf))")
    if causal:
        body.add(f"scores = select(between(0, {i} + 1 - {start}), scores, splat(-np.inf))")
    body.add("before, top = largest, get(scores, 0)")
    with body.block("for lane in range(1, LANES):"):
        body.add("top = max(top, get(scores, lane))")
    body.add(
        "largest = maximum(largest, splat(top))",
        "base = select(largest <= -np.inf, splat(0.0), largest)",
        "weights = exp(scores - base)",
        "shrunk = exp(before - base)",
        "whole = whole * shrunk + splat(total(weights))",
    )


def _write_values(body: Body, row: str, start: str, lanes: int, wide: int) -> None:
    """
    Writes the weighted sum of the values of some keys.
    """
    for at, count in body.pieces(wide, "j"):
        place = sum_of((row, 1), (at, 1))
        body.add(f"s = {body.load('result', place, count)} * shrunk")
        with body.block(f"for k in range({'LANES' if lanes == body.lanes else lanes}):"):
            value = body.load("value", sum_of((start, wide), ("k", wide), (at, 1)), count)
            body.add(f"s = fma(splat(get(weights, k)), {value}, s)")
        body.store("result", place, count, "s")
