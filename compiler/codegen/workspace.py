"""
One workspace for all values between the inputs and the outputs of a general model: places are used again.
"""

from dataclasses import dataclass

from compiler.codegen.memory import ARRANGING, MOST_WORDS, Slot, plan_memory, written
from compiler.errors import UnsupportedError
from compiler.ir import DType, Model

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
    slots: dict[str, Slot] = {}
    for name, value in sorted(values.items(), key=lambda item: (-item[1].words, item[1].first, item[0])):
        busy = sorted(
            (slots[other].offset, slots[other].offset + slots[other].words)
            for other in slots
            if values[other].first <= value.last and value.first <= values[other].last
        )
        slots[name] = Slot(_first_gap(busy, value.words), value.words)
    words = max((slot.offset + slot.words for slot in slots.values()), default=0)
    if words > MOST_WORDS:
        found = f"a predictor of it needs {words:,} float32 of workspace; at most {MOST_WORDS:,} are given"
        raise UnsupportedError(model.origin.file, found)
    return Workspace({name: slots[owner] for name, owner in owners.items()}, words)


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
        if node.op in ARRANGING and read:
            owners[node.outputs[0]] = read[0]
            continue
        for name in node.outputs:
            values[name] = _Value(_padded(written(model, node, name)), number, number)
            owners[name] = name
    for name in (*(output.tensor for output in model.outputs), *(state.output for state in model.states)):
        if name in owners:
            values[owners[name]].last = len(model.nodes)
    return values, owners


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
