"""
What leads to no output goes, and nothing else.
"""

from dataclasses import replace

import numpy as np

from compiler.ir import BATCH, DType, State
from compiler.passes.drop_unused import drop_unused
from tests.passes.graphs import Graph, apply, graph_of


def test_a_network_that_no_output_needs_goes_with_its_constants():
    found = Graph()
    hidden = found.add("tanh", [found.linear("x", "shared", 3)], "shared.tanh")
    logits = found.linear(hidden, "action_net", 2)
    found.linear(found.add("relu", [found.linear(hidden, "value", 3)], "value.relu"), "value_net", 1)
    found.bias("log_std", 2)
    assert (
        graph_of(apply(drop_unused, found.model((logits, "scores"))))
        == """\
input 'x': float32[batch, 4]
constant 'shared.weight': float32[3, 4]
constant 'shared.bias': float32[3]
constant 'action_net.weight': float32[2, 3]
constant 'action_net.bias': float32[2]
'shared': float32[batch, 3] = linear('x', 'shared.weight', 'shared.bias')  # 'shared'
'shared.tanh': float32[batch, 3] = tanh('shared')  # 'shared.tanh'
'action_net': float32[batch, 2] = linear('shared.tanh', 'action_net.weight', 'action_net.bias')  # 'action_net'
output 'scores' = 'action_net' (scores)"""
    )


def test_inputs_stay_though_nothing_reads_them():
    found = Graph()
    found.input("unread", DType.FLOAT32, (BATCH, 2))
    model = replace(found.model((found.linear("x", "net", 2), "output")), inputs=("x", "unread"))
    assert apply(drop_unused, model) == model


def test_an_output_may_be_an_input_or_a_constant():
    found = Graph()
    found.bias("constant", 3)
    found.linear("x", "unneeded", 2)
    model = apply(drop_unused, found.model(("x", "output"), ("constant", "scores")))
    assert (model.nodes, list(model.tensors)) == ((), ["x", "constant"])


def test_states_are_results():
    found = Graph()
    found.input("state", DType.FLOAT32, (BATCH, 2))
    found.constant("initial", np.zeros(2, np.float32))
    following = found.add("tanh", ["state"], "following")
    model = found.model((found.linear("x", "net", 2), "output"))
    model = replace(model, states=(State("memory", "state", following, "initial"),))
    assert apply(drop_unused, model) == model
