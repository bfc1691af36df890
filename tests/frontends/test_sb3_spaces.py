"""
Spaces of gym and gymnasium, of every kind, whole and damaged.
"""

import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from compiler import ir
from compiler.errors import CheckpointError, UnsupportedError
from compiler.frontends.sb3.spaces import space_from
from compiler.readers.pickle_machine import Call, Symbol, decode, mapping

WHERE = "agent.zip: observation_space"


def read(space, protocol=4) -> Any:
    return space_from(decode(pickle.dumps(space, protocol), WHERE), WHERE)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint8", "uint16"])
def test_a_box_keeps_its_bounds(dtype, protocol):
    low = (np.arange(6).reshape(2, 3) / (10 if "float" in dtype else 1)).astype(dtype)
    box = read(spaces.Box(low, low + 2, dtype=dtype), protocol)
    assert box == ir.Box(ir.DType(dtype), low, low + np.asarray(2, dtype))


def test_a_box_may_be_unbounded_scalar_or_in_fortran_order():
    box = read(spaces.Box(-np.inf, np.inf, (), np.float32))
    assert box.shape == ()
    assert np.isneginf(box.low)
    low = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    box = read(spaces.Box(low, low + 1))
    np.testing.assert_array_equal(box.low, low)
    assert box.low.flags.c_contiguous


@pytest.mark.parametrize(
    ("shape", "dtype", "high", "is_image"),
    [
        ((3, 4, 5), np.uint8, 255, True),
        ((3, 4, 5), np.uint8, 254, False),
        ((4, 5), np.uint8, 255, False),
        ((3, 4, 5), np.float32, 255, False),
    ],
)
def test_images_are_recognised(shape, dtype, high, is_image):
    assert read(spaces.Box(0, high, shape, dtype)).is_image is is_image


def test_the_other_spaces_are_decoded():
    assert read(spaces.Discrete(5, start=-2)) == ir.Discrete(5, -2)
    assert read(spaces.MultiDiscrete([3, 4], start=[1, 2])) == ir.MultiDiscrete((3, 4), (1, 2))
    assert read(spaces.MultiBinary(4)) == ir.MultiBinary((4,))
    assert read(spaces.MultiBinary([2, 3])) == ir.MultiBinary((2, 3))
    nested = spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Dict({"x": spaces.MultiBinary(1)})})
    inner = ir.Dict((("x", ir.MultiBinary((1,))),))
    assert read(nested) in (
        ir.Dict((("a", inner), ("b", ir.Discrete(2)))),
        ir.Dict((("b", ir.Discrete(2)), ("a", inner))),
    )


def test_a_seeded_space_is_decoded():
    space = spaces.Discrete(3)
    space.seed(4)
    space.sample()
    assert read(space) == ir.Discrete(3)


def space_call(kind, attributes, module="gym.spaces.box"):
    call = Call(Symbol(module, kind), ())
    call.state = attributes
    return call


def box_attributes(**changed):
    """
    The attributes of a decoded Box.
    """
    call = decode(pickle.dumps(spaces.Box(-1, 1, (2,), np.float32)), WHERE)
    assert isinstance(call, Call)
    return {**mapping(call.state, WHERE), **changed}


def array(values):
    return decode(pickle.dumps(np.array(values)), WHERE)


def test_old_gym_has_shape_without_underscore_and_no_start():
    attributes = box_attributes(shape=(2,))
    del attributes["_shape"]
    box = space_from(space_call("Box", attributes), WHERE)
    assert isinstance(box, ir.Box)
    assert box.shape == (2,)
    discrete = {"n": 4, "shape": (), "dtype": Call(Symbol("numpy", "dtype"), ("i8", False, True)), "np_random": None}
    assert space_from(space_call("Discrete", discrete, "gym.spaces.discrete"), WHERE) == ir.Discrete(4)
    nvec = {"nvec": array([2, 3])}
    assert space_from(space_call("MultiDiscrete", nvec, "gym.spaces.multi_discrete"), WHERE) == ir.MultiDiscrete((2, 3))


def test_a_number_of_numpy_is_a_number():
    call = space_call("Discrete", {"n": decode(pickle.dumps(np.int64(7)), WHERE)})
    assert space_from(call, WHERE) == ir.Discrete(7)


@pytest.mark.parametrize(
    ("kind", "attributes", "text"),
    [
        ("Box", box_attributes(low=array([1.0, 2.0])), "low is float64"),
        ("Box", box_attributes(high=array([[1.0]])), "high is float64"),
        ("Box", box_attributes(_shape=(3,)), "low is float32"),
        ("Box", box_attributes(low=None), "low: expected a NumPy array"),
        ("Box", box_attributes(dtype="O"), "expected a NumPy dtype"),
        ("Box", {}, "without the attribute dtype"),
        ("Discrete", {"n": 0}, "a Discrete of 0 choices"),
        ("Discrete", {"n": -3}, "a Discrete of -3 choices"),
        ("Discrete", {"n": 2.0}, "expected an integer, found 2.0"),
        ("Discrete", {"n": True}, "expected an integer, found True"),
        ("Discrete", {"n": "3"}, "expected a number"),
        ("Discrete", {}, "without the attribute n"),
        ("MultiDiscrete", {"nvec": array([2.0, 3.0])}, "not made of positive integers"),
        ("MultiDiscrete", {"nvec": array([2, 0])}, "not made of positive integers"),
        ("MultiBinary", {"n": (2, 0)}, "MultiBinary of shape"),
        ("Dict", {"spaces": {3: space_call("Discrete", {"n": 2})}}, "the key 3, which is not text"),
        ("Dict", {"spaces": {"a": 3}}, "'a': expected a space"),
        ("Dict", {"spaces": None}, "expected a dict"),
        ("Box", None, "expected a dict"),
    ],
)
def test_damaged_spaces_are_refused(kind, attributes, text):
    with pytest.raises(CheckpointError, match=text):
        space_from(space_call(kind, attributes), WHERE)


@pytest.mark.parametrize(("low", "high"), [(np.nan, 1.0), (0.0, np.nan), (2.0, 1.0)])
def test_bounds_must_be_ordered(low, high):
    attributes = box_attributes(
        low=decode(pickle.dumps(np.full(2, low, np.float32)), WHERE),
        high=decode(pickle.dumps(np.full(2, high, np.float32)), WHERE),
    )
    with pytest.raises(CheckpointError, match="NaN, or with low above high"):
        space_from(space_call("Box", attributes), WHERE)


def test_an_empty_box_is_refused():
    empty = decode(pickle.dumps(np.zeros((0, 3), np.float32)), WHERE)
    with pytest.raises(CheckpointError, match="no elements"):
        space_from(space_call("Box", box_attributes(_shape=(0, 3), low=empty, high=empty)), WHERE)


def test_other_spaces_are_refused_by_name():
    for space in (spaces.Text(4), spaces.Tuple((spaces.Discrete(2),))):
        with pytest.raises(UnsupportedError, match=f"gymnasium.spaces.{type(space).__name__.lower()}"):
            read(space)
    with pytest.raises(UnsupportedError, match=r"'os\.system' is not one of gymnasium's"):
        space_from(Call(Symbol("os", "system"), ("true",)), WHERE)
    with pytest.raises(UnsupportedError, match="2 dimensions"):
        read(spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])))


@pytest.mark.parametrize("value", [None, 3, "Box", {}, Symbol("gym.spaces.box", "Box")])
def test_what_is_no_space_is_refused(value):
    with pytest.raises(CheckpointError, match="expected a space"):
        space_from(value, WHERE)
