"""
What whole numbers an input may hold: rows of the tables that it looks up.
"""

import numpy as np
import pytest
import torch
from torch import nn

import compiler
from compiler.ir import BATCH, DType, Model, Origin, Output
from compiler.ops.builder import GraphBuilder
from compiler.ops.indices import LARGEST, is_in_an_index, whole_numbers
from compiler.options import BuildOptions
from tests.models import predictor


def lookups(*rows: int, through: str = "") -> Model:
    """
    A model that looks its input up in tables of so many rows.
    """
    graph = GraphBuilder()
    ids = graph.input("ids", DType.INT64, (BATCH, 2, 3))
    source = {
        "": lambda: ids,
        "reshape": lambda: graph.add("reshape", [ids], "flat", shape=(6,)),
        "permute": lambda: graph.add("permute", [ids], "turned", order=(1, 0)),
        "absolute": lambda: graph.add("absolute", [ids], "absolute"),
    }[through]()
    outputs = []
    for number, count in enumerate(rows):
        table = graph.constant(f"table_{number}", np.arange(count * 2, dtype=np.float32).reshape(count, 2))
        outputs.append(Output(f"found_{number}", graph.add("embedding", [source, table], f"lookup_{number}")))
    if not rows:
        outputs.append(Output("same", graph.add("absolute", [ids], "absolute")))
    origin = Origin("lookups.pt2", "0" * 64, "test")
    return Model("lookups", tuple(graph.nodes), graph.tensors, ("ids",), tuple(outputs), origin)


def bytewise(*rows: int) -> Model:
    """
    The same of bytes.
    """
    graph = GraphBuilder()
    ids = graph.add("cast", [graph.input("ids", DType.UINT8, (BATCH, 2, 3))], "whole", dtype="int64")
    outputs = [Output("shifted", graph.add("times", [ids, graph.constant("n", np.array([[65536]]))], "product"))]
    for count in rows:
        table = graph.constant(f"table_{count}", np.zeros((count, 2), np.float32))
        outputs.append(Output(f"found_{count}", graph.add("embedding", [ids, table], f"lookup_{count}")))
    return Model("bytes", tuple(graph.nodes), graph.tensors, ("ids",), tuple(outputs), Origin("b", "0" * 64, "test"))


def test_the_smallest_table_decides():
    assert whole_numbers(lookups(9), "ids") == (0, 8)
    assert whole_numbers(lookups(9, 4, 7), "ids") == (0, 3)
    assert whole_numbers(lookups(9, through="reshape"), "ids") == (0, 8)
    assert whole_numbers(lookups(9, 5, through="permute"), "ids") == (0, 4)


def test_what_is_gathered_is_a_table_too():
    graph = GraphBuilder()
    x, ids = graph.input("x", DType.FLOAT32, (BATCH, 3, 7)), graph.input("ids", DType.INT64, (BATCH, 3, 2))
    found = Output("found", graph.add("gather", [x, ids], "gather", axis=1))
    model = Model("g", tuple(graph.nodes), graph.tensors, ("x", "ids"), (found,), Origin("g", "0" * 64, "test"))
    assert whole_numbers(model, "ids") == (0, 6)


def test_bytes_have_all_their_values_or_the_rows_of_a_table():
    assert whole_numbers(bytewise(), "ids") == (0, 255)
    assert whole_numbers(bytewise(9, 4), "ids") == (0, 3)
    assert whole_numbers(bytewise(1000), "ids") == (0, 255)


def test_what_indices_are_computed_of():
    """
    Two bytes that name a place together; a letter that is an index, and is counted.
    """
    graph = GraphBuilder()
    names = ("row", "column", "letter")
    given = [graph.add("cast", [graph.input(n, DType.UINT8, (BATCH, 3))], f"{n}:int64", dtype="int64") for n in names]
    table = graph.constant("table", np.zeros((20, 2), np.float32))
    places = graph.add(
        "plus", [graph.add("times", [given[0], graph.constant("ten", np.array([10]))], "t"), given[1]], "p"
    )
    results = [graph.add("embedding", [index, table], "look") for index in (places, given[2])]
    results.append(graph.add("reduce_sum", [given[2]], "count", axes=(0,), keep=False))
    outputs = tuple(Output(f"found_{place}", result) for place, result in enumerate(results))
    model = Model("places", tuple(graph.nodes), graph.tensors, names, outputs, Origin("p", "0" * 64, "test"))
    assert [is_in_an_index(model, name) for name in names] == [True, True, False]


def test_what_is_no_index_has_the_range_of_float32():
    assert whole_numbers(lookups(), "ids") == (-LARGEST, LARGEST)
    assert whole_numbers(lookups(9, through="absolute"), "ids") == (-LARGEST, LARGEST)
    assert np.float32(LARGEST) == LARGEST
    assert np.float32(LARGEST - 1) == LARGEST - 1
    assert int(np.float32(LARGEST + 1)) == LARGEST


@pytest.mark.parametrize(("model", "least", "most"), [(lookups(9, 4), 0, 3), (lookups(), -LARGEST, LARGEST)])
def test_others_are_refused(tmp_path, model, least, most):
    with predictor(tmp_path / "lookups", model, BuildOptions(nonfinite="propagate")) as module:
        good = np.full((5, 2, 3), least)
        good[3] = most
        module.predict(good)
        for wrong in (least - 1, most + 1, 2**31, 2**32, -(2**62)):
            bad = good.copy()
            bad[4, 1, 2] = wrong
            with pytest.raises(ValueError, match=f"ids: expected whole numbers from {least} to {most}, found {wrong}"):
                module.predict(bad)
            with pytest.raises(ValueError, match=f"found {wrong}"):
                module.predict(bad[4])


@pytest.mark.slow
def test_extensions_refuse_the_same(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 2)).eval()
    example = torch.zeros(1, 3, dtype=torch.int64)
    build = compiler.build(network, example_inputs=(example,), out=tmp_path, target="native", cpu="native", name="net")
    module = build.load()
    ids = np.array([[0, 3, 6], [1, 1, 1]])
    assert np.allclose(module.predict(ids), network(torch.tensor(ids)).detach().numpy(), atol=1e-6)
    for wrong in (-1, 7, 2**40):
        with pytest.raises(ValueError, match=f"input: expected whole numbers from 0 to 6, found {wrong}"):
            module.predict([[0, 3, 6], [1, wrong, 1]])
