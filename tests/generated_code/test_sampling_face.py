"""
How callers have predictors draw: generators, shapes, dtypes, states, episodes, noise that is kept, refusals.

The packages are not compiled: their face is the same.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from compiler.ir import Model, Tensor
from compiler.options import BuildOptions
from tests.generated_code.sampled import POLICIES, ROWS, SIZES, arguments, gaussian, inputs, predictors
from tests.models import policy, predictor
from tests.policies import NARROW, WIDE, observing


@pytest.fixture(scope="module")
def modules(tmp_path_factory) -> Iterator[dict[str, ModuleType]]:
    with predictors(tmp_path_factory.mktemp("sampled")) as found:
        yield found


def drawn(module: ModuleType, name: str, seed: int) -> np.ndarray:
    """
    Actions for each observation 20 times.
    """
    given = arguments(POLICIES[name], inputs(POLICIES[name], 20))
    actions = module.predict(**given, deterministic=False, generator=np.random.default_rng(seed))[0]
    return actions.reshape(ROWS, 20, -1)


def test_without_noise_the_action_is_the_best(modules, tmp_path):
    model = gaussian(observing(WIDE, NARROW), std=np.full(3, 1e-30, np.float32))
    rows = inputs(model)["observation"]
    with predictor(tmp_path / "silent", model, plain=True) as module:
        assert np.array_equal(module.predict(rows, deterministic=False)[0], module.predict(rows)[0])


@pytest.mark.parametrize("name", ["noise", "clipped noise"])
def test_noise_depends_on_the_state_until_it_is_reset(modules, name):
    module, model = modules[name], POLICIES[name]
    rows = inputs(model)["observation"]
    first = module.predict(rows, deterministic=False)[0]
    assert not np.array_equal(first, module.predict(rows)[0])
    assert np.array_equal(module.predict(rows, deterministic=False, generator=np.random.default_rng(7))[0], first)
    np.testing.assert_allclose(module.predict(rows[1], deterministic=False)[0], first[1], rtol=1e-4)
    module.reset_noise()
    assert not np.array_equal(module.predict(rows, deterministic=False)[0], first)
    module.reset_noise(np.random.default_rng(8))
    known = module.predict(rows, deterministic=False)[0]
    module.reset_noise()
    module.reset_noise(np.random.default_rng(8))
    assert np.array_equal(module.predict(rows, deterministic=False)[0], known)


@pytest.mark.parametrize("name", POLICIES)
def test_shapes_dtypes_and_states_are_those_of_the_best_action(modules, name):
    module, model = modules[name], POLICIES[name]
    values = inputs(model)
    for row in (None, *(range(ROWS) if not model.states else ())):
        given = arguments(model, values, row)
        best, state = module.predict(**given)
        drawn, drawn_state = module.predict(**given, deterministic=False)
        assert type(drawn) is np.ndarray
        assert (drawn.shape, drawn.dtype) == (best.shape, best.dtype)
        for mine, theirs in zip(drawn_state or (), state or (), strict=True):
            assert np.array_equal(mine, theirs)
    assert module.predict(**{**given, "state": None}, deterministic=False)[0].shape == best.shape


@pytest.mark.parametrize("name", POLICIES)
def test_a_generator_makes_draws_repeatable(modules, name):
    if "noise" in name:
        modules[name].reset_noise()
    first, again, other = (drawn(modules[name], name, seed) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    if "noise" not in name and name not in ("one choice", "q_values"):
        assert not np.array_equal(first, other)
        assert (first != first[:, :1]).any(), "rows of a batch are drawn independently"


@pytest.mark.parametrize("name", ["squashed"])
def test_compiled_predictors_draw_the_same(modules, tmp_path, name):
    rows = inputs(POLICIES[name], 20)["observation"]
    with predictor(tmp_path / "compiled", POLICIES[name]) as module:
        for key, value in modules[name].distribution(rows).items():
            np.testing.assert_allclose(module.distribution(rows)[key], value, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(module.distribution(rows[0])[key], value[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(drawn(module, name, 3), drawn(modules[name], name, 3), rtol=1e-4, atol=1e-4)


def test_draws_differ_without_a_generator(modules):
    rows = inputs(POLICIES["clipped"])["observation"]
    first, second = (modules["clipped"].predict(rows, deterministic=False)[0] for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_processes_that_are_forked_draw_on_their_own(modules):
    module, row = modules["clipped"], inputs(POLICIES["clipped"])["observation"][0]
    module.predict(row, deterministic=False)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, module.predict(row, deterministic=False)[0].tobytes())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100)
    os.close(reading)
    os.close(writing)
    assert len(theirs) == 12
    assert module.predict(row, deterministic=False)[0].tobytes() != theirs


def test_episodes_draw_and_go_on(modules):
    for name in ("recurrent", "recurrent choice"):
        module, model = modules[name], POLICIES[name]
        rows = inputs(model)["observation"]
        episode, state = module.Episode(), None
        generator, other = np.random.default_rng(1), np.random.default_rng(1)
        for row in rows:
            action = episode.act(row, deterministic=False, generator=generator)
            right, state = module.predict(row, state, deterministic=False, generator=other)
            assert np.array_equal(action, right)
            assert isinstance(action, int) == (name == "recurrent choice")
            assert all(np.array_equal(mine, theirs) for mine, theirs in zip(episode.state, state, strict=True))
        before = episode.state
        with pytest.raises(ValueError, match="expected finite"):
            episode.act(np.full(4, np.nan), deterministic=False)
        assert all(np.array_equal(mine, theirs) for mine, theirs in zip(episode.state, before, strict=True))


@pytest.mark.parametrize("name", POLICIES)
def test_refusals(modules, name):
    module, model = modules[name], POLICIES[name]
    values = inputs(model)
    given = arguments(model, values)
    for generator in (0, np.random, np.random.RandomState(1)):
        with pytest.raises(TypeError, match=r"expected a numpy\.random\.Generator"):
            module.predict(**given, deterministic=False, generator=generator)
    key = next(name for name, tensor in values.items() if tensor.dtype == np.float32)
    broken = {**values, key: values[key].copy()}
    broken[key][1] = np.nan
    for call, options in ((module.predict, {"deterministic": False}), (module.distribution, {})):
        with pytest.raises(ValueError, match="expected finite numbers, found nan"):
            call(**arguments(model, broken), **options)
        with pytest.raises(ValueError, match="expected"):
            call(**{**given, "observation": np.zeros(3) if key == "observation" else {}}, **options)


def with_constant(model: Model, name: str, value: float) -> Model:
    """
    The same model with a constant that is this value, and minus that, in turns.
    """
    data = np.full(model.tensors[name].fixed_shape, value, np.float32)
    data[..., ::2] *= -1
    return replace(model, tensors={**model.tensors, name: Tensor.constant(name, data)})


OVERFLOWS = {
    "scores": with_constant(POLICIES["discrete"], "action_net.weight", np.inf),
    "mean": with_constant(POLICIES["clipped"], "action_net.weight", np.inf),
    "std": with_constant(POLICIES["squashed"], "log_std.weight", np.inf),
    "noise": with_constant(POLICIES["noise"], "log_std.exp", np.inf),
}


@pytest.mark.parametrize("name", OVERFLOWS)
def test_draws_that_are_not_finite_are_refused(tmp_path, name):
    row = np.ones(4, np.float32)
    with predictor(tmp_path / name, OVERFLOWS[name], plain=True) as module:
        with pytest.raises(ValueError, match="is not finite for this observation"):
            module.predict(row, deterministic=False)
        if name != "noise":
            with pytest.raises(ValueError, match="is not finite for this observation"):
                module.distribution(row)
    with predictor(tmp_path / "free", OVERFLOWS[name], BuildOptions(nonfinite="propagate"), plain=True) as module:
        assert module.predict(row, deterministic=False)[0].shape == module.predict(row)[0].shape
        assert not all(np.isfinite(value).all() for value in module.distribution(row).values())


def test_policies_that_never_draw_ignore_the_flag(tmp_path):
    model = policy((4,), (8,), 3, head="rescale", kind="TD3Policy")
    rows = inputs(model)["observation"]
    with predictor(tmp_path / "td3", model, plain=True) as module:
        drawn = module.predict(rows, deterministic=False, generator=np.random.default_rng(1))[0]
        assert np.array_equal(drawn, module.predict(rows)[0])
        assert not hasattr(module, "distribution")
        assert not (tmp_path / "td3" / "sampling.py").exists()


def test_packages_export_what_applies(modules):
    special = {"action_probabilities", "q_values", "reset_noise"}
    for name, module in modules.items():
        found = special & set(module.__all__)
        if name in SIZES or name == "bits":
            assert found == {"action_probabilities"}
        elif name == "q_values":
            assert found == {"q_values"}
        else:
            assert found == ({"reset_noise"} if "noise" in name else set())
        assert "distribution" in module.__all__
