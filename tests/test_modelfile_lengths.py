"""
Models whose sizes follow a length: what such a size is, their files, and what makes them illegal.
"""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compiler.check import check
from compiler.errors import ModelFileError
from compiler.frontends.lengths import all_lengths
from compiler.ir import BATCH, DType, Length, Model, Node, Origin, Output, State, Tensor
from compiler.modelfile import decode, encode
from compiler.modelfile.frame import schema
from compiler.ops.builder import GraphBuilder
from compiler.ops.lengths import at_length, length_of, samples
from tests.hostile.model_files import message, seal
from tests.test_modelfile import SEAL

LENGTH = Length("length", 2, 9)


def fixed(length: int) -> Model:
    """
    Sizes that follow the length in shapes, in attributes of both kinds, and in a constant.
    """
    builder = GraphBuilder()
    x = builder.input("x", DType.FLOAT32, (BATCH, length, 4))
    places = builder.constant("places", np.arange(length, dtype=np.float32)[:, None])
    added = builder.add("plus", [x, places], "added")
    last = builder.add("slice", [added], "last", axis=0, start=length - 1, stop=length, step=1)
    rows = builder.add("reshape", [added], "rows", shape=(1, length, 2, 2))
    longer = builder.add("join", [added, last], "longer", axis=0)
    outputs = tuple(Output(name, name) for name in (last, rows, longer))
    return Model("m", tuple(builder.nodes), builder.tensors, ("x",), outputs, Origin("m.pt2", "0" * 64, "torch-export"))


def model() -> Model:
    return check(all_lengths(lambda length: (fixed(length), {}), LENGTH), "test")


def test_a_length_is_the_largest_and_follows_sums():
    assert int(LENGTH) == 9
    assert LENGTH != 9
    assert LENGTH == Length("length", 2, 9) != Length("other", 2, 9)
    longer = 1 + LENGTH + 2
    assert isinstance(longer, Length)
    assert (int(longer), longer.at(4), str(longer), str(longer - 5)) == (12, 7, "length+3<=12", "length-2<=7")
    assert type(LENGTH * 2) is int
    assert type(LENGTH - LENGTH) is int
    assert copy.deepcopy(longer) == copy.copy(longer) == longer
    assert samples(LENGTH) == [2, 3, 5, 9]


def test_a_model_follows_its_length():
    whole = model()
    assert length_of(whole) == LENGTH
    assert whole.tensors["longer"].shape == (BATCH, LENGTH + 1, 4)
    assert whole.tensors["places"].shape == (LENGTH, 1)
    for length in range(2, 10):
        one, other = at_length(whole, length), fixed(length)
        assert one == other
        check(one, "one length")


def test_a_model_survives_its_file():
    before = model()
    data = encode(before).data
    after = decode(data, "m.model")
    assert after == before
    assert str(after) == str(before)
    assert encode(after).data == data


def test_only_models_that_follow_a_length_need_the_newer_schema():
    for whole, version in ((model(), 2), (fixed(5), 1)):
        with schema().Model.from_bytes(encode(whole).data[:-SEAL]) as root:
            assert root.schemaVersion == version


def changed(**tensors: Any) -> Model:
    """
    The model with other shapes.
    """
    whole = model()
    shapes = {name: replace(whole.tensors[name], shape=shape) for name, shape in tensors.items()}
    return replace(whole, tensors={**whole.tensors, **shapes})


def with_node(op: str, inputs: tuple[str, ...], result: Any, **attributes: Any) -> Model:
    whole = model()
    node = Node(op, "new", inputs, ("new",), attributes)
    return replace(
        whole, nodes=(*whole.nodes, node), tensors={**whole.tensors, "new": Tensor("new", DType.FLOAT32, result)}
    )


def with_softmax() -> Model:
    """
    An op of policies, whose kernels know nothing of a length.
    """
    whole = with_node("reduce_sum", ("x",), (BATCH, LENGTH), axes=(1,), keep=False)
    node = Node("softmax", "softmax", ("new",), ("chances",), {"scale": 1.0, "sizes": ()})
    tensors = {**whole.tensors, "chances": Tensor("chances", DType.FLOAT32, (BATCH, LENGTH))}
    return replace(whole, nodes=(*whole.nodes, node), tensors=tensors)


def with_state() -> Model:
    whole = model()
    start = Tensor.constant("start", np.zeros((9, 4), np.float32))
    state = State("s", "x", "longer", "start")
    return replace(whole, states=(state,), inputs=(), tensors={**whole.tensors, "start": start})


def without_input() -> Model:
    """
    A length that nothing says which a caller gives.
    """
    builder = GraphBuilder()
    x = builder.input("x", DType.FLOAT32, (BATCH, 1, 4))
    added = builder.add("plus", [x, builder.constant("places", np.zeros((9, 1), np.float32))], "added")
    whole = Model("m", tuple(builder.nodes), builder.tensors, ("x",), (Output("y", added),), model().origin)
    shapes = {"places": (LENGTH, 1), added: (BATCH, LENGTH, 4)}
    tensors = {name: replace(whole.tensors[name], shape=shape) for name, shape in shapes.items()}
    return replace(whole, tensors={**whole.tensors, **tensors})


ILLEGAL = {
    "no input": (without_input(), "a size follows a length that no input has"),
    "another length": (changed(longer=(BATCH, Length("other", 2, 9, 1), 4)), "there may be one length only"),
    "other bounds": (changed(longer=(BATCH, Length("length", 1, 9, 1), 4)), "there may be one length only"),
    "another shift": (changed(longer=(BATCH, LENGTH, 4)), "where 'length' is 2: node 'longer'"),
    "a size for a length": (changed(longer=(BATCH, 10, 4)), "where 'length' is 2: node 'longer'"),
    "a constant that is too short": (changed(places=(LENGTH + 1, 1)), "its data are float32"),
    "joined": (with_node("reshape", ("x",), (BATCH, 36), shape=(36,)), "where 'length' is 2: node 'new'"),
    "moved": (with_node("reshape", ("rows",), (BATCH, 2, LENGTH, 2), shape=(2, LENGTH, 2)), "joins the length"),
    "an op that can't": (with_softmax(), "node 'softmax': op softmax can't follow a length"),
    "an attribute that can't": (
        with_node("slice", ("x",), (BATCH, 1, 4), axis=0, start=0, stop=LENGTH, step=LENGTH),
        "attribute 'step' of op slice can't follow",
    ),
    "a state": (with_state(), "no policies and have no states"),
}  # fmt: skip


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_models_are_refused(name):
    whole, text = ILLEGAL[name]
    with pytest.raises(ModelFileError, match=text):
        check(whole, "test")


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        (("length", 0, 9), "must be from 1 or more"),
        (("length", 9, 9), "must be from 1 or more"),
        (("length", 2, 1 << 40), "must be from 1 or more|too large"),
        (("a b", 2, 9), "must be a name"),
        (('"""', 2, 9), "must be a name"),
        (("n" * 65, 2, 9), "must be a name"),
        (("", 2, 9), "must be a name"),
    ],
)
def test_bounds_and_names_are_checked(bounds, text):
    length = Length(*bounds)
    tensor = Tensor("x", DType.FLOAT32, (BATCH, length))
    result = Tensor("y", DType.FLOAT32, (BATCH, length))
    whole = Model("m", (Node("tanh", "t", ("x",), ("y",)),), {"x": tensor, "y": result}, ("x",), (Output("y", "y"),),
                  Origin("m", "0" * 64, "t"))  # fmt: skip
    with pytest.raises(ModelFileError, match=text):
        check(whole, "test")


def size(**fields: int) -> dict[str, Any]:
    return {"length": {"name": "length", "least": 2, "most": 9, "shift": 0, **fields}}


def hostile(change: Any) -> bytes:
    return seal(message(change, encode(model()).data[:-SEAL]))


def in_tensor(fields: Any, dimension: Any) -> None:
    next(entry for entry in fields["tensors"] if entry["name"] == "longer")["shape"][1] = dimension


HOSTILE = {
    "an older version": (lambda f: f.update(schemaVersion=1), "not what policyc writes"),
    "a shift beyond": (lambda f: in_tensor(f, size(shift=2**63 - 1)), "which no array has"),
    "a shift below": (lambda f: in_tensor(f, size(shift=-(2**63))), "which no array has"),
    "none left": (lambda f: in_tensor(f, size(shift=-2)), "must be from 1 or more"),
    "a length of 2^64": (lambda f: in_tensor(f, size(most=2**64 - 1)), "which no array has"),
    "two lengths": (lambda f: in_tensor(f, size(most=8)), "there may be one length only"),
    "a symbol among sizes": (
        lambda f: f["nodes"][2]["attributes"][0]["sizes"].append({"symbol": "batch"}),
        "has a symbol among its sizes",
    ),
    "sizes that are integers": (
        lambda f: f["nodes"][2]["attributes"].__setitem__(0, {"name": "shape", "sizes": [{"size": 1}, {"size": 36}]}),
        "must be tuple|where 'length'|not what policyc writes",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name):
    change, text = HOSTILE[name]
    with pytest.raises(ModelFileError, match=text):
        decode(hostile(change), "hostile")


def test_a_file_that_nothing_was_changed_in_is_read():
    assert decode(hostile(lambda fields: None), "sound") == model()
