"""
No two values that live at once share a place, and every register has room.
"""

import numpy as np
import pytest

from compiler.codegen import memory
from compiler.codegen.memory import WORDS, plan_memory
from compiler.errors import UnsupportedError
from compiler.ir import DType
from compiler.options import LANES, BuildOptions
from compiler.pipeline import run_passes
from tests.images import Layer, image_policy
from tests.models import policy

MODELS = [
    policy((3,), (17, 2, 5), 7),
    policy((2, 3), (), 1),
    policy((1, 3, 3), (5,), 3, image=True),
    policy((5,), (33, 1), 3, head="clip", bounds="float64", activations="softmax"),
    policy((300,), (1, 300), 15, head="rescale", bounds="float32"),
    policy((1,), (1,), 1, head="rescale", bounds="float64"),
    image_policy(
        (2, 6, 5), [Layer(33, (2, 2)), Layer(1, (3, 2), padding=(1, 0), activation="tanh"), Layer(20, (2, 1))]
    ),
]


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("model", MODELS)
def test_every_value_has_room_of_its_own(model, lanes):
    model = run_passes(model, BuildOptions(lanes=lanes, nonfinite="propagate"))
    plan = plan_memory(model, lanes, lanes)
    taken: dict[int, str] = {}
    aliases = {node.outputs[0]: node.inputs[0] for node in model.nodes if node.op == "flatten"}
    for name, slot in plan.slots.items():
        tensor = model.tensors[name]
        padded = -(-tensor.elements // lanes) * lanes  # what kernels of whole registers read and write
        assert slot.words >= (padded if tensor.dtype is DType.FLOAT32 else tensor.elements * WORDS[tensor.dtype])
        assert slot.offset % lanes == 0
        assert slot.offset % WORDS[tensor.dtype] == 0, "a float64 must not stand at an odd word"
        assert slot.offset + slot.words <= plan.words
        if name in aliases:
            assert slot == plan.slots[aliases[name]]
            continue
        for word in range(slot.offset, slot.offset + slot.words):
            assert word not in taken, f"{name} and {taken[word]} share word {word}"
            taken[word] = name
    for node in model.nodes:
        if node.op == "dense":
            assert plan.slots[node.outputs[0]].words >= model.tensors[node.inputs[2]].elements
        if node.op == "convolution":
            *pixels, filters = model.tensors[node.outputs[0]].fixed_shape
            last = (np.prod(pixels) - 1) * filters  # from there on a whole block of filters is written
            assert plan.slots[node.outputs[0]].words >= last + model.tensors[node.inputs[2]].elements
    computed = {*model.inputs, *(name for node in model.nodes for name in node.outputs)}
    assert plan.slots.keys() == computed
    assert plan.words % WORDS[DType.FLOAT64] == 0


def test_more_memory_than_any_policy_needs_is_refused(monkeypatch):
    model = run_passes(policy((300,), (1, 300), 15), BuildOptions())
    plan = plan_memory(model, 16, 16)
    monkeypatch.setattr(memory, "MOST_WORDS", plan.words + plan.block_words * 16 - 1)
    with pytest.raises(UnsupportedError, match="float32 of workspace"):
        plan_memory(model, 16, 16)
