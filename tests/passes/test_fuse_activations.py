"""
Activations move into the layer before them, where only they need its result.
"""

from dataclasses import replace

import numpy as np

from compiler.ir import BATCH, DType, State
from compiler.passes.fuse_activations import fuse_activations
from compiler.passes.pack_dense import pack_dense
from tests.passes.graphs import RAISE, Graph, apply, graph_of


def packed(found: Graph, *outputs: tuple[str, str]):
    return pack_dense(found.model(*outputs), RAISE)


def test_an_activation_becomes_an_attribute_of_its_layer():
    found = Graph()
    hidden = found.add("leaky_relu", [found.linear("x", "net.0", 16)], "net.1", negative_slope=0.5)
    model = apply(fuse_activations, packed(found, (found.linear(hidden, "net.2", 16), "scores")))
    assert (
        graph_of(model)
        == """\
input 'x': float32[batch, 4]
constant 'net.0.weight': float32[1, 4, 16]
constant 'net.0.bias': float32[16]
constant 'net.2.weight': float32[1, 16, 16]
constant 'net.2.bias': float32[16]
'net.1': float32[batch, 16] = dense('x', 'net.0.weight', 'net.0.bias', activation='leaky_relu', layout='columns', \
negative_slope=0.5, outputs=16)  # 'net.0'
'net.2': float32[batch, 16] = dense('net.1', 'net.2.weight', 'net.2.bias', activation='', layout='columns', \
outputs=16)  # 'net.2'
output 'scores' = 'net.2' (scores)"""
    )


def test_only_the_first_of_two_activations():
    found = Graph()
    result = found.add("relu", [found.add("tanh", [found.linear("x", "net", 3)], "tanh")], "relu")
    model = apply(fuse_activations, packed(found, (result, "scores")))
    assert [node.op for node in model.nodes] == ["dense", "relu"]
    assert model.nodes[0].attributes["activation"] == "tanh"


def test_what_is_left_alone():
    found = Graph()
    layer = found.linear("x", "net", 3)
    result = found.add("tanh", [layer], "tanh")
    needed = packed(found, (result, "action"), (layer, "scores"))
    assert apply(fuse_activations, needed) == needed

    found.linear(layer, "other", 2)
    read_twice = packed(found, (result, "action"), ("other", "scores"))
    assert apply(fuse_activations, read_twice) == read_twice

    found = Graph()
    no_layer = packed(found, (found.add("tanh", ["x"], "tanh"), "scores"))
    assert apply(fuse_activations, no_layer) == no_layer

    found = Graph()
    no_activation = packed(found, (found.add("softmax", [found.linear("x", "net", 3)], "softmax"), "scores"))
    assert apply(fuse_activations, no_activation) == no_activation

    found = Graph()
    unpacked = found.model((found.add("tanh", [found.linear("x", "net", 3)], "tanh"), "scores"))
    assert apply(fuse_activations, unpacked) == unpacked


def test_a_state_is_needed():
    found = Graph()
    found.input("state", DType.FLOAT32, (BATCH, 3))
    found.constant("initial", np.zeros(3, np.float32))
    layer = found.linear("x", "net", 3)
    model = packed(found, (found.add("tanh", [layer], "tanh"), "scores"))
    model = replace(model, states=(State("memory", "state", layer, "initial"),))
    assert apply(fuse_activations, model) == model
