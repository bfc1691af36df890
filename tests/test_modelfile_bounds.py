"""
What a model file cannot hold is refused when it is written.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compiler.errors import ModelFileError
from compiler.ir import Box, Dict, Discrete, DType, Model, MultiBinary, MultiDiscrete, Node, Policy, Tensor
from compiler.modelfile import decode, encode
from compiler.modelfile.bounds import MAXIMUM_BLOB, MAXIMUM_DEPTH, MAXIMUM_HEAD, MAXIMUM_ITEMS
from tests.test_modelfile import same, sample


def surrogates() -> dict[str, Model]:
    """
    The sample with a lone surrogate in one text after another.
    """
    model, bad = sample(), "a\ud800b"
    assert model.policy is not None
    first, *others = model.nodes
    space = Dict(((bad, Discrete(2)),))
    return {
        "name": replace(model, name=bad),
        "file": replace(model, origin=replace(model.origin, file=bad)),
        "version": replace(model, origin=replace(model.origin, versions=((bad, ""),))),
        "assumption": replace(model, origin=replace(model.origin, assumptions=(bad,))),
        "tensor": replace(model, tensors={**model.tensors, bad: Tensor.constant(bad, np.zeros(1, np.int8))}),
        "dimension": replace(
            model,
            inputs=(*model.inputs, "t"),
            tensors={**model.tensors, "t": Tensor("t", DType.INT8, (bad,))},
        ),
        "node": replace(model, nodes=(replace(first, name=bad), *others)),
        "output": replace(model, outputs=(replace(model.outputs[0], name=bad),)),
        "state": replace(model, states=(replace(model.states[0], name=bad),)),
        "kind": replace(model, policy=replace(model.policy, kind=bad)),
        "key": replace(model, policy=replace(model.policy, observation_space=space)),
    }


@pytest.mark.parametrize("place", surrogates())
def test_lone_surrogates_are_refused_when_writing(place):
    with pytest.raises(ModelFileError, match=r"'a\\ud800b' has a lone surrogate"):
        encode(surrogates()[place])


def with_attribute(value: Any) -> Model:
    model = sample()
    return replace(
        model, nodes=(*model.nodes[:1], replace(model.nodes[1], attributes={"beta": value}), *model.nodes[2:])
    )


@pytest.mark.parametrize(
    "value",
    [2**63, -(2**63) - 1, None, (1, 2.0), (True,), [1], np.float64(1), (np.int64(1),), (2**64,), b"x"],
    ids=ascii,
)
def test_attributes_that_a_file_cannot_hold_are_refused(value, monkeypatch):
    monkeypatch.setattr("compiler.ops.table.Op.check_attributes", lambda row, attributes: None)
    with pytest.raises(ModelFileError, match="attribute 'beta' of node 'act'"):
        encode(with_attribute(value))


def nested(depth: int) -> Dict:
    space = Dict(())
    for _ in range(depth - 1):
        space = Dict((("part", space),))
    return space


ONE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (nested(MAXIMUM_DEPTH + 1), "nested more than 16 deep"),
        (nested(500), "nested more than 16 deep"),
        (
            Dict((("a", Discrete(2)), ("b", Discrete(2)), ("a", Discrete(3)))),
            "a key of the Dict is there twice",
        ),
        (Discrete(2**63), "1 to 16777216 choices"),
        (Discrete(0), "1 to 16777216 choices"),
        (Discrete(2, 2**63), "64 bits cannot hold"),
        (MultiDiscrete((2, 2**64)), "16777216 at most together"),
        (MultiDiscrete(()), "must have choices"),
        (MultiDiscrete((2, 2), (1,)), "2 choices, but 1 starts"),
        (MultiBinary((0,)), "1 to 16777216 bits"),
        (MultiBinary((1 << 31, 1 << 31)), "1 to 16777216 bits"),
        (MultiBinary((1,) * 9), "9 dimensions"),
        (Box(DType.FLOAT32, ONE, ONE.astype(np.float64)), "bounds of the Box"),
        (Box(DType.FLOAT32, ONE, np.ones(2, np.float32)), "bounds of the Box"),
        (Box(DType.FLOAT32, ONE[:0], ONE[:0]), "at least 1"),
        (Box(DType.BOOL, np.frombuffer(b"\2", bool), np.frombuffer(b"\1", bool)), "other than 0 and 1"),
    ],
)
def test_spaces_that_a_file_cannot_hold_are_refused(space, words):
    with pytest.raises(ModelFileError, match=words):
        encode(replace(sample(), policy=Policy("", space, Discrete(2))))


def test_the_deepest_space_is_stored():
    policy = Policy("", nested(MAXIMUM_DEPTH), nested(MAXIMUM_DEPTH))
    assert decode(encode(replace(sample(), policy=policy)).data, "m").policy == policy


def test_what_is_too_large_is_refused():
    model = sample()
    few = replace(model, origin=replace(model.origin, assumptions=("",) * (MAXIMUM_ITEMS - 100)))
    assert same(decode(encode(few).data, "m"), few)
    many = replace(model, origin=replace(model.origin, assumptions=("",) * MAXIMUM_ITEMS))
    with pytest.raises(ModelFileError, match="more than 131072 elements"):
        encode(many)
    long = replace(model, name="x" * (MAXIMUM_HEAD - 4096))
    assert same(decode(encode(long).data, "m"), long)
    with pytest.raises(ModelFileError, match="without its weights takes"):
        encode(replace(model, name="x" * MAXIMUM_HEAD))


def test_weights_beyond_what_capnp_counts_are_refused():
    model = sample()
    # Nothing is written: the array has no memory of its own.
    huge = np.broadcast_to(np.uint8(1), (MAXIMUM_BLOB // 2,))
    tensors = {**model.tensors, **{name: Tensor(name, DType.UINT8, huge.shape, huge) for name in ("a", "b", "c")}}
    with pytest.raises(ModelFileError, match="the weights take more than 536870848 bytes"):
        encode(model.with_graph(model.nodes, tensors))


def test_illegal_models_are_not_written():
    with pytest.raises(ModelFileError, match="unknown op 'nothing'"):
        encode(replace(sample(), nodes=(Node("nothing", "n", (), ()),)))
