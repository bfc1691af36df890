"""
One workspace for all values between the inputs and the outputs of a general model: places are used again.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from compiler.codegen.memory import ARRANGING, MOST_WORDS, Slot, plan_memory, written
from compiler.codegen.winograd_kernels import room_words
from compiler.errors import UnsupportedError
from compiler.ir import DType, Model, Node
from compiler.ops.blocks import BLOCK

LINE = 16
"""float32 in a cache line: every value begins at one, and ends with one, so that registers may cover its end."""


@dataclass(frozen=True)
class Workspace:
    """
    Where each value of one observation stands, in float32 from the beginning.
    """

    slots: dict[str, Slot]
    words: int
    """The size of the workspace, the most that is needed at any time but for gaps."""


@dataclass(frozen=True)
class BlockWorkspace:
    """
    Where each value of a block of observations stands.
    """

    slots: dict[str, Slot]
    apart: dict[str, int]
    """float32 from the value of one observation to that of the next; 0 where each has its place after the other."""
    words: int


@dataclass
class _Value:
    """
    A value under the name that it is computed with; others may be the same elements in another shape.
    """

    words: int
    first: int
    """The number of the node that computes it; inputs come before all."""
    last: int
    """The number of the last node that reads it."""


def plan_workspace(model: Model) -> Workspace:
    """
    Places for inputs and results, the largest first, each where nothing stands that is needed at the same time.

    Args:
        model: after all passes.

    Raises:
        UnsupportedError: the values take more memory than any predictor may.
    """
    values, owners = _lifetimes(model)
    slots, words = _placed(values)
    if words > MOST_WORDS:
        found = f"a predictor of it needs {words:,} float32 of workspace; at most {MOST_WORDS:,} are given"
        raise UnsupportedError(model.origin.file, found)
    return Workspace({name: slots[owner] for name, owner in owners.items()}, words)


def _placed(values: dict[str, _Value]) -> tuple[dict[str, Slot], int]:
    """
    A place for each value, and how many words all of them take.
    """
    slots: dict[str, Slot] = {}
    for name, value in sorted(values.items(), key=lambda item: (-item[1].words, item[1].first, item[0])):
        busy = sorted(
            (slots[other].offset, slots[other].offset + slots[other].words)
            for other in slots
            if values[other].first <= value.last and value.first <= values[other].last
        )
        slots[name] = Slot(_first_gap(busy, value.words), value.words)
    return slots, max((slot.offset + slot.words for slot in slots.values()), default=0)


@dataclass(frozen=True)
class Stretch:
    """
    Nodes that are computed one observation after the other; or a single one, for all of a block at once.
    """

    nodes: tuple[Node, ...]
    together: bool = False


def plan_blocks(model: Model, stretches: Sequence[Stretch]) -> BlockWorkspace:
    """
    Places for all values of a block of observations.

    What is made in a stretch that goes observation by observation, and read in no other, is needed for one of them at a
    time. Of all else every observation has its own, from the beginning of the first stretch that it is needed in to the
    end of the last.

    Args:
        model: after all passes.
        stretches: all nodes, in order; inputs come in the first, outputs leave in the last.
    """
    values, owners = _lifetimes(model)
    ends = list(accumulate(len(stretch.nodes) for stretch in stretches))
    apart = dict.fromkeys(values, 0)
    for name, value in values.items():
        first, last = bisect_right(ends[:-1], value.first), bisect_right(ends[:-1], value.last)
        if first != last or stretches[first].together:
            apart[name] = value.words
            value.words *= BLOCK
            value.first, value.last = (ends[first - 1] if first else -1), max(ends[last] - 1, value.last)
    slots, words = _placed(values)
    names = owners.items()
    return BlockWorkspace(
        {name: slots[owner] for name, owner in names}, {name: apart[owner] for name, owner in names}, words
    )


def stays(model: Model, node: Node) -> bool:
    """
    Whether the result of a node stands where its input stands: in the same words, so that it needs no kernel.

    Besides reshapes these are casts, but for those that change values: toward zero for int64, x != 0 for bool.
    """
    if node.op != "cast":
        return node.op in ARRANGING
    source, result = (model.tensors[name].dtype for name in (node.inputs[0], node.outputs[0]))
    return source is result or (source is not DType.FLOAT32 and result is not DType.BOOL)


def _lifetimes(model: Model) -> tuple[dict[str, _Value], dict[str, str]]:
    """
    The values, and for each tensor that is no constant the value that it is, in whatever shape.
    """
    given = (*model.inputs, *(state.input for state in model.states))
    values = {name: _Value(_padded(model.tensors[name].elements), -1, -1) for name in given}
    owners = {name: name for name in given}
    for number, node in enumerate(model.nodes):
        read = [owners[name] for name in node.inputs if name in owners]
        for owner in read:
            values[owner].last = number
        if read and stays(model, node):
            owners[node.outputs[0]] = read[0]
            continue
        for name in node.outputs:
            values[name] = _Value(_padded(written(model, node, name)), number, number)
            owners[name] = name
        for name in rooms_of(model, node):
            values[name] = _Value(_padded(room_words(model, node)), number, number)
            owners[name] = name
    for name in (*(output.tensor for output in model.outputs), *(state.output for state in model.states)):
        if name in owners:
            values[owners[name]].last = len(model.nodes)
    return values, owners


def rooms_of(model: Model, node: Node) -> list[str]:
    """
    What the place is called that a kernel needs while it computes, if it needs one: as no tensor is.
    """
    name = f"{node.outputs[0]}:room"
    while name in model.tensors:
        name = f"{name}:"
    return [name] if node.op == "winograd" else []


def arguments_of(model: Model, node: Node) -> list[str]:
    """
    What a kernel takes pointers to: inputs, results, and the place that it needs besides.
    """
    return [*node.inputs, *node.outputs, *rooms_of(model, node)]


def _padded(words: int) -> int:
    return -(-words // LINE) * LINE


def _first_gap(busy: list[tuple[int, int]], words: int) -> int:
    place = 0
    for start, stop in busy:
        if start - place >= words:
            break
        place = max(place, stop)
    return place


def workspace_bytes(model: Model, lanes: int) -> int:
    """
    What all values of one observation take that are in use at the same time; of a policy, all that are computed.

    Args:
        model: after all passes.
        lanes: float32 in a register.
    """
    words = plan_workspace(model).words if model.policy is None else plan_memory(model, lanes, lanes).words
    return words * DType.FLOAT32.numpy.itemsize
