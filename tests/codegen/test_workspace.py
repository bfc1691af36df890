"""
Places in the workspace of a general model: none is used by two values that are needed at the same time.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.codegen import workspace
from compiler.codegen.blocks import stretches_of
from compiler.codegen.workspace import LINE, plan_blocks, plan_workspace, stays, workspace_bytes
from compiler.errors import UnsupportedError
from compiler.ir import BATCH, DType, Model, Node, Origin, Output
from compiler.ops.blocks import BLOCK
from compiler.ops.builder import GraphBuilder

ORIGIN = Origin("model.pt2", "0" * 64, "torch-export")


@st.composite
def graphs(draw) -> Model:
    """
    Values of several sizes, each computed from one or two earlier ones; some are reshaped, some are outputs.
    """
    graph = GraphBuilder()
    values = [graph.input(f"input_{i}", DType.FLOAT32, (BATCH, draw(st.integers(1, 40)))) for i in range(2)]
    for number in range(draw(st.integers(1, 12))):
        source = draw(st.sampled_from(values))
        size = graph.tensors[source].elements
        match draw(st.sampled_from(["tanh", "add", "concat", "flatten"])):
            case "add":
                values.append(graph.add("add", [source, source], f"add_{number}"))
            case "concat":
                other = draw(st.sampled_from(values))
                if size + graph.tensors[other].elements < 200:
                    values.append(graph.add("concat", [source, other], f"concat_{number}"))
            case op:
                values.append(graph.add(op, [source], f"{op}_{number}"))
    results = {*draw(st.lists(st.sampled_from(values[2:] or values), min_size=1, max_size=3)), values[-1]}
    outputs = tuple(Output(f"output_{name}", name) for name in sorted(results))
    return Model("graph", tuple(graph.nodes), graph.tensors, ("input_0", "input_1"), outputs, ORIGIN)


@given(graphs())
@settings(deadline=None, max_examples=200)
def test_what_is_needed_stays(model):
    """
    Goes through the nodes with a map of who wrote each word last: all that a node or a caller reads must be there.
    """
    plan = plan_workspace(model)
    wrote: dict[int, str] = {}
    owners: dict[str, str] = {}

    def words(name: str) -> range:
        slot = plan.slots[name]
        assert slot.offset % LINE == 0
        assert slot.words >= model.tensors[name].elements
        assert slot.offset + slot.words <= plan.words
        return range(slot.offset, slot.offset + slot.words)

    def write(name: str) -> None:
        owners[name] = name
        wrote.update(dict.fromkeys(words(name), name))

    def intact(name: str) -> bool:
        return all(wrote[word] == owners[name] for word in words(name))

    for name in model.inputs:
        write(name)
    for node in model.nodes:
        assert all(intact(name) for name in node.inputs)
        (result,) = node.outputs
        if node.op == "flatten":
            owners[result] = owners[node.inputs[0]]
        else:
            write(result)
            assert all(owners[name] == result or intact(name) for name in node.inputs)  # while it is computed
    assert all(intact(output.tensor) for output in model.outputs)


@given(graphs(), st.data())
@settings(deadline=None, max_examples=200)
def test_what_a_block_needs_stays(model, data):
    """
    The same for a block: some nodes are computed for all observations at once, stretches of others one by one.
    """
    computing = [node.outputs[0] for node in model.nodes if node.op != "flatten"]
    stretches = stretches_of(model, set(data.draw(st.lists(st.sampled_from(computing)))) if computing else set())
    assert [node for stretch in stretches for node in stretch.nodes] == list(model.nodes)
    plan = plan_blocks(model, stretches)
    owners = {name: name for name in model.inputs}
    wrote: dict[int, tuple[str, int]] = {}

    def words(name: str, slot: int) -> range:
        first, apart = plan.slots[name].offset + slot * plan.apart[name], plan.apart[name]
        assert apart in (0, plan.slots[name].words // BLOCK)
        count = apart or plan.slots[name].words
        assert model.tensors[name].elements <= count
        assert first + count <= plan.words
        return range(first, first + count)

    def write(name: str, slot: int) -> None:
        wrote.update(dict.fromkeys(words(name, slot), (owners[name], slot)))

    def intact(name: str, slot: int) -> bool:
        return all(wrote[word] == (owners[name], slot) for word in words(name, slot))

    def compute(node: Node, slots: range) -> None:
        (result,) = node.outputs
        assert all(intact(name, slot) for name in node.inputs for slot in slots)
        owners[result] = owners[node.inputs[0]] if node.op == "flatten" else result
        if node.op != "flatten":
            for slot in slots:
                write(result, slot)
            assert all(intact(name, slot) for name in node.inputs for slot in slots)  # while it is computed
            assert all(intact(result, slot) for slot in slots)

    for stretch in stretches:
        if stretch.together:
            compute(stretch.nodes[0], range(BLOCK))
            continue
        for slot in range(BLOCK):
            if stretch is stretches[0]:
                for name in model.inputs:
                    write(name, slot)
            for node in stretch.nodes:
                compute(node, range(slot, slot + 1))
            if stretch is stretches[-1]:
                assert all(intact(output.tensor, slot) for output in model.outputs)


def chain(length: int) -> Model:
    graph = GraphBuilder()
    value = graph.input("observation", DType.FLOAT32, (BATCH, 100))
    for number in range(length):
        value = graph.add("tanh", [value], f"layer_{number}")
    return Model("chain", tuple(graph.nodes), graph.tensors, ("observation",), (Output("output", value),), ORIGIN)


def test_a_chain_needs_two_places():
    assert plan_workspace(chain(10)).words == 2 * 112


SAMPLES = {DType.FLOAT32: [-1.5, 0, 2], DType.INT64: [-3, 0, 2], DType.UINT8: [0, 2, 255], DType.BOOL: [0, 1]}


@pytest.mark.parametrize("source", SAMPLES)
@pytest.mark.parametrize("result", [DType.FLOAT32, DType.INT64, DType.BOOL])
def test_a_cast_stays_where_its_input_stands_if_it_keeps_all_values(source, result):
    graph = GraphBuilder()
    found = graph.add("cast", [graph.input("x", source, (BATCH, 100))], "cast", dtype=str(result))
    model = Model("cast", tuple(graph.nodes), graph.tensors, ("x",), (Output("y", found),), ORIGIN)
    values = np.array(SAMPLES[source], source.numpy)
    kept = np.array_equal(values.astype(np.float32), values.astype(result.numpy).astype(np.float32))
    assert stays(model, model.nodes[0]) == kept
    slots = plan_workspace(model).slots
    assert (slots["x"] == slots["cast"]) == kept


def test_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(workspace, "MOST_WORDS", 200)
    said = "model.pt2: a predictor of it needs 224 float32 of workspace; at most 200 are given"
    with pytest.raises(UnsupportedError, match=said):
        plan_workspace(chain(3))


@given(graphs())
@settings(deadline=None, max_examples=50)
def test_the_bytes_are_those_of_the_plan(model):
    plan = plan_workspace(model)
    used = {place for slot in plan.slots.values() for place in range(slot.offset, slot.offset + slot.words)}
    assert workspace_bytes(model, 16) == 4 * plan.words == 4 * (max(used) + 1)
