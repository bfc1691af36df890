"""
The kernel of general models that puts the values along an axis in order.
"""

from compiler.codegen.arranging_kernels import integer
from compiler.codegen.body import Body, Operand, passes, sum_of
from compiler.codegen.reduction_kernels import around
from compiler.ir import Node


def write_top(body: Body, node: Node, source: Operand) -> None:
    """
    Writes a kernel that finds the first value in order, then the first of those after it, and so on.

    What stands after the last that was found is known by its value and its place, so that nothing is marked.
    """
    outer, count, inner = around(node, source)
    kept = integer(node, "count")
    largest = bool(node.attributes["largest"])
    # NaN is larger than all numbers, as in PyTorch.
    best = "x > first or (x != x and first == first)" if largest else "x < first or (x == x and first != first)"
    less = "x < after or (x == x and after != after)" if largest else "x > after or (x != x and after == after)"
    with body.loop("i0", outer) as before, body.loop("i1", inner) as behind:
        begin = sum_of((before, count * inner), (behind, 1))
        body.add(f"after = load_scalar(source, {begin})", "place = -1")
        with body.block(f"for step in range({kept}):"):
            body.add("first = after", "found = -1")
            with body.block(f"for k in range({passes(count)}):"):
                body.add(f"x = load_scalar(source, {sum_of((begin, 1), ('k', inner))})")
                body.add(
                    "same = x == after or (x != x and after != after)",
                    f"left = place < 0 or {less} or (same and k > place)",
                )
                with body.block(f"if left and (found < 0 or {best}):"):
                    body.add("first = x", "found = k")
            body.add("after = first", "place = found")
            here = sum_of((before, kept * inner), ("step", inner), (behind, 1))
            body.add(f"store_scalar(target, {here}, first)", f"store_scalar(last, {here}, np.float32(found))")
