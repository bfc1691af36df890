"""
A package with an extension has the face of one for Numba: the same names, signatures, results and errors.
"""

import array
import copy
import inspect
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compiler.verify import verify
from tests.generated_code.test_every_input import question
from tests.generated_code.test_face import FORMS, REAL, REFUSED
from tests.models import observations
from tests.targets.native_packages import KINDS, Pair, pairs
from tests.thorough import chosen

TESTED = chosen(KINDS, "discrete", "box", "dict", "masked", "recurrent", "squashed")
PLAIN = [name for name in TESTED if name not in ("recurrent",)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Iterator[dict[str, Pair]]:
    with pairs(tmp_path_factory.mktemp("faces")) as found:
        yield found


def outcome(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """
    What a call gives, or the error that it raises.
    """
    try:
        return call(*arguments, **named)
    except Exception as error:
        return error


def same(found: Any, expected: Any) -> None:
    """
    Compares two outcomes: types and shapes exactly, errors word for word, numbers up to rounding.
    """
    assert type(found) is type(expected)
    if isinstance(expected, Exception):
        assert str(found) == str(expected)
    elif isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        same(list(found.values()), list(expected.values()))
    elif isinstance(expected, np.ndarray):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    else:
        assert found == expected


def asked(pair: Pair, rows: int, seed: int = 4) -> tuple[Any, dict[str, Any]]:
    """
    Observations, and what goes with them.
    """
    observation, others, _ = question(pair.model, rows, np.random.default_rng(seed))
    return observation, others


def row_of(observation: Any, row: int) -> Any:
    """
    One of many observations, or of their masks.
    """
    return {key: part[row] for key, part in observation.items()} if isinstance(observation, dict) else observation[row]


@pytest.mark.parametrize("name", TESTED)
def test_names_and_signatures(packages, name):
    native, numba = packages[name].native, packages[name].numba
    assert native.__all__ == numba.__all__
    assert native.SPEC | {"name": ""} == numba.SPEC | {"name": ""}
    assert set(native.__all__) <= set(dir(native))
    for exported in native.__all__:
        if exported == "SPEC":
            continue
        found, expected = inspect.signature(getattr(native, exported)), inspect.signature(getattr(numba, exported))
        assert list(found.parameters) == list(expected.parameters)
        for one, other in zip(found.parameters.values(), expected.parameters.values(), strict=True):
            assert (one.default, one.kind) == (other.default, other.kind)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        native.nothing  # noqa: B018


@pytest.mark.parametrize("name", TESTED)
def test_the_verification_of_a_build_finds_nothing(packages, name):
    pair = packages[name]
    found = verify(pair.model, pair.compiled, pair.native, replace(pair.options, verify_observations=60))
    assert found.observations >= 60


@pytest.mark.parametrize("name", TESTED)
def test_answers(packages, name):
    pair = packages[name]
    for rows in (1, 2, 17):
        observation, others = asked(pair, rows)
        same(pair.native.predict(observation, **others), pair.numba.predict(observation, **others))
        unmasked = {key: value for key, value in others.items() if key != "action_masks"}
        for function in ("scores", "value"):
            if hasattr(pair.numba, function):
                same(
                    getattr(pair.native, function)(observation, **unmasked),
                    getattr(pair.numba, function)(observation, **unmasked),
                )
        if "distribution" in pair.numba.__all__:
            same(pair.native.distribution(observation, **others), pair.numba.distribution(observation, **others))


@pytest.mark.parametrize("name", PLAIN)
def test_single_answers(packages, name):
    pair = packages[name]
    observation, others = asked(pair, 5)
    for row in range(5):
        one, masks = row_of(observation, row), {key: value[row] for key, value in others.items()}
        for given in ({}, masks):
            expected = pair.numba.act(one, **given)
            same(pair.native.act(one, **given), expected)
            same(pair.native.act(observation=one, **given), expected)
            same(pair.native.predict(one, **given), pair.numba.predict(one, **given))
            same(pair.native.layers(one, **given), pair.numba.layers(one, **given))


def test_results_are_the_callers_own(packages):
    for name in ("box", "choices"):
        pair = packages[name]
        observation, _ = asked(pair, 1)
        first = pair.native.act(row_of(observation, 0))
        kept = first.copy()
        first += 1
        assert np.array_equal(pair.native.act(row_of(observation, 0)), kept)


def test_draws(packages):
    for name in ("masked", "noise", "squashed"):
        pair = packages[name]
        observation, others = asked(pair, 3)
        drawn = [
            module.predict(observation, deterministic=False, generator=np.random.default_rng(3), **others)
            for module in (pair.native, pair.numba)
        ]
        same(*drawn)


def test_an_episode(packages):
    native, numba = packages["recurrent"].native, packages["recurrent"].numba
    rows = observations(packages["recurrent"].model, 6)
    one, other = native.Episode(), numba.Episode()
    state = other_state = None
    for step, row in enumerate(rows):
        if step == 3:
            one.reset(), other.reset()
        given = row.tolist() if step % 2 else row
        same(one.act(given), other.act(given))
        same(one.state, other.state)
        found, expected = native.act(row, state), numba.act(row, other_state)
        same(found, expected)
        state, other_state = found[1], expected[1]
    before = one.state
    same(outcome(one.act, np.full(4, np.nan)), outcome(other.act, np.full(4, np.nan)))
    same(one.state, before)


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_observations(packages, form):
    for name in ("discrete", "box"):
        pair = packages[name]
        rows = observations(pair.model, 3)
        for given in (rows[0], rows):
            same(pair.native.predict(FORMS[form](given)), pair.numba.predict(FORMS[form](given)))
        same(pair.native.act(FORMS[form](rows[0])), pair.numba.act(rows[0]))


@pytest.mark.parametrize("dtype", [*REAL, ">f8", ">i4", "<f2", ">u2"])
@pytest.mark.parametrize("name", ["propagating", "normalised"])
def test_numbers_are_converted_as_numpy_does(packages, name, dtype):
    pair, kind = packages[name], np.dtype(dtype)
    module, rng = pair.native, np.random.default_rng(6)
    rows = rng.normal(size=(200, 4)) * rng.choice([1e-7, 1e-4, 1, 3], (200, 4))
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        rows = rng.integers(limits.min, limits.max, (200, 4), dtype=np.dtype(kind.name), endpoint=True)
        rows[::2] = rng.integers(0, 100, rows[::2].shape)
    rows = rows.astype(kind)
    if kind.kind == "f" and name == "propagating":
        rows[:8, 0] = [np.nan, np.inf, -np.inf, -0.0, np.finfo(kind).max, np.finfo(kind).tiny, 6e-8, 1]
    with np.errstate(all="ignore"):
        exact = rows.astype(np.float64 if name == "normalised" else np.float32)
    for row, converted in zip(rows, exact, strict=True):
        found, expected = outcome(module.act, row), outcome(module.act, converted)
        assert type(found) is type(expected)
        assert isinstance(found, ValueError) or np.array_equal(found, expected, equal_nan=name == "propagating")
        assert isinstance(found, ValueError) or np.array_equal(
            module.act(row.tolist()), expected, equal_nan=name == "propagating"
        )


@pytest.mark.parametrize("case", REFUSED)
def test_refused_observations(packages, case):
    observation, _ = REFUSED[case]
    again = copy.copy(observation) if case != "generator" else (value for value in range(4))
    for name in ("discrete", "propagating", "normalised"):
        native, numba = packages[name].native, packages[name].numba
        for function in ("predict", "scores", "act", "layers"):
            same(outcome(getattr(native, function), observation), outcome(getattr(numba, function), again))


def test_refused_calls(packages):
    native, numba = packages["masked"].native, packages["masked"].numba
    row = np.zeros(4, np.float32)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        ((row, None, None), {}),
        ((row,), {"masks": [True] * 4}),
        ((row,), {"observation": row}),
        ((row, [True] * 3), {}),
        ((row, "abcd"), {}),
        ((row, [None] * 4), {}),
    ]
    for arguments, named in calls:
        found, expected = outcome(native.act, *arguments, **named), outcome(numba.act, *arguments, **named)
        same(found, expected)
        assert isinstance(found, TypeError | ValueError)


def test_overflow_and_choices_out_of_range(packages):
    pair = packages["discrete"]
    for row in (np.full(4, 3e38), np.full(4, -3e38, np.float32)):
        same(outcome(pair.native.act, row), outcome(pair.numba.act, row))
    pair = packages["choices"]
    for choice in (-1, 7, 10**30, -(2**63), 3.7, math.nan, np.int8(-1), np.uint64(2**63), [3], None, True, "3"):
        same(outcome(pair.native.act, choice), outcome(pair.numba.act, choice))
        same(outcome(pair.native.predict, choice), outcome(pair.numba.predict, choice))


MASKS: dict[str, Callable[[Any], Any]] = {
    "list": lambda masks: masks.tolist(),
    "tuple": lambda masks: tuple(masks.tolist()),
    "integers": lambda masks: masks.astype(np.int64),
    "bytes": lambda masks: masks.astype(np.uint8) * 200,
    "floats": lambda masks: masks * 0.5,
    "halves": lambda masks: masks.astype(np.float16),
    "column": lambda masks: masks[:, None],
    "strided": lambda masks: np.repeat(masks, 2)[::2],
    "array": lambda masks: array.array("b", masks.tolist()),
    "numbers": lambda masks: [0.5 * mask for mask in masks.tolist()],
}


@pytest.mark.parametrize("form", MASKS)
def test_forms_of_masks(packages, form):
    pair = packages["masked"]
    observation, others = asked(pair, 20)
    for row, masks in zip(observation, others["action_masks"], strict=True):
        same(pair.native.act(row, MASKS[form](masks)), pair.numba.act(row, masks))
        same(pair.native.act(row, action_masks=MASKS[form](masks)), pair.numba.act(row, masks))


def test_images(packages):
    for name in ("image", "cube"):
        pair = packages[name]
        rows = observations(pair.model, 9).astype(np.uint8)
        for row in rows:
            expected = pair.numba.act(row)
            camera = np.ascontiguousarray(row.transpose(1, 2, 0))
            forms = [
                row,
                row.astype(float),
                row.tolist(),
                memoryview(row),
                memoryview(row.tobytes()).cast("B", row.shape),
            ]
            forms += [row > 100, camera, camera.transpose(2, 0, 1), camera.data, camera.astype(np.int16)]
            for form in forms:
                same(outcome(pair.native.act, form), outcome(pair.numba.act, form))
            assert name == "cube" or pair.native.act(camera) == expected
        for wrong in (rows[0][:, :, 0], rows, rows[0].astype(float) + 0.5, rows[0].astype(int) + 300):
            same(outcome(pair.native.act, wrong), outcome(pair.numba.act, wrong))


def test_dict_observations(packages):
    pair = packages["dict"]
    observation = row_of(asked(pair, 1)[0], 0)
    expected = pair.numba.act(observation)
    forms = [OrderedDict(observation), dict(reversed(observation.items()))]
    forms.append({key: np.asarray(part).tolist() for key, part in observation.items()})
    forms.append(
        observation | {"speed": array.array("d", observation["speed"].tolist()), "gear": int(observation["gear"])}
    )
    for form in forms:
        same(pair.native.act(form), expected)
    wrong: list[Any] = [{}, list(observation.values()), observation | {"more": 1}, None]
    wrong += [{key: part for key, part in observation.items() if key != "gear"}]
    wrong += [{**wrong[-1], "ear": 3}, observation | {"speed": np.zeros(3)}, observation | {"gear": 5}]
    wrong += [observation | {"dials": [0, 4]}, observation | {"speed": [0, 0, np.nan, 0]}]
    for form in wrong:
        found = outcome(pair.native.act, form)
        assert isinstance(found, ValueError)
        same(found, outcome(pair.numba.act, form))


@pytest.mark.parametrize("name", PLAIN)
def test_predict_into(packages, name):
    pair = packages[name]
    for rows in (1, 3, 17, 40):
        observation, others = asked(pair, rows)
        for given in ({}, others):
            actions = pair.numba.predict(observation, **given)[0]
            for module in (pair.native, pair.numba):
                out = np.zeros_like(actions)
                assert module.predict_into(observation, out, **given) is None
                same(out, actions)
                flat = array.array("q" if out.dtype == np.int64 else out.dtype.char, bytes(out.nbytes))
                module.predict_into(observation, flat, **given)
                same(np.asarray(flat).reshape(actions.shape), actions)
    one = row_of(observation, 0)
    for module in (pair.native, pair.numba):
        out = np.zeros_like(pair.numba.predict(one)[0])
        module.predict_into(one, out)
        same(out, pair.numba.predict(one)[0])


def test_what_predict_into_refuses(packages):
    for name in ("discrete", "box"):
        pair = packages[name]
        rows = observations(pair.model, 4)
        right = np.zeros_like(pair.numba.predict(rows)[0])
        frozen = right.copy()
        frozen.flags.writeable = False
        outs = [
            right[:3],
            np.zeros((4, 5), right.dtype),
            right.astype(np.float32),
            right.astype(np.int32),
            frozen,
            [0] * 4,
        ]
        outs += [None, b"0" * 32, "text", np.repeat(right, 2, axis=0)[::2], right.astype(right.dtype.newbyteorder())]
        for out in outs:
            found = outcome(pair.native.predict_into, rows, out)
            assert isinstance(found, ValueError | TypeError)
            assert str(found).startswith("out: expected")
            same(found, outcome(pair.numba.predict_into, rows, out))
        bad = rows.copy()
        bad[2].fill(np.nan)
        for wrong in (bad, rows[:, :1], rows[:0], "text", None):
            same(outcome(pair.native.predict_into, wrong, right), outcome(pair.numba.predict_into, wrong, right))
        for form in (rows.astype(np.float64), rows[::-1], rows.tolist(), np.asfortranarray(rows)):
            pair.native.predict_into(form, right)
            same(right, pair.numba.predict(form)[0])
