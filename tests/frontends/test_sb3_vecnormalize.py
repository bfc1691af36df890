"""
The statistics of VecNormalize: read as SB3 has them, computed as SB3 does, refused where they make no sense.
"""

import hashlib
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import VecNormalize

from compiler.errors import BuildError, CheckpointError, PolicycError
from compiler.frontends.sb3.vecnormalize import read_vecnormalize
from compiler.ir import Box, Dict, DType
from compiler.ops import OPS
from tests.frontends.vecnormalize_files import CAMERA, PARTS, before_1_7, changed, normalizing, running, saved, wrapped

ZOO = Path(os.environ["POLICYC_ZOO"]) if os.environ.get("POLICYC_ZOO") else None


def box(*shape, dtype=DType.FLOAT32, low=-1, high=1):
    """
    A space as the frontend has it.
    """
    return Box(dtype, np.full(shape, low, dtype.numpy), np.full(shape, high, dtype.numpy))


def image(*shape):
    return box(*shape, dtype=DType.UINT8, low=0, high=255)


def normalized(observations, statistics):
    """
    What the op `normalize` gives, rounded as it says.
    """
    values = OPS["normalize"].reference(
        observations.astype(np.float64), statistics.mean, statistics.deviation, clip=statistics.clip
    )
    return values.astype(np.float32)


def assert_same_bits(own, theirs):
    assert theirs.dtype == np.float32
    assert own.tobytes() == np.ascontiguousarray(theirs).tobytes()


def parts_of(found):
    assert isinstance(found.space, Dict)
    return dict(found.space.spaces)


def refusal(path, kind=CheckpointError):
    with pytest.raises(PolicycError) as refused:
        read_vecnormalize(path)
    assert type(refused.value) is kind
    assert refused.value.where.startswith(str(path))
    return str(refused.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int64])
def test_a_box_is_normalised_as_sb3_does(tmp_path, dtype):
    normalize = normalizing(0, 2, 5, dtype=dtype, clip_obs=1.3, epsilon=1e-3)
    path = saved(tmp_path, normalize)
    found = read_vecnormalize(path)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    (statistics,) = found.statistics.values()
    assert statistics.clip == 1.3
    np.testing.assert_array_equal(statistics.mean, normalize.obs_rms.mean)
    observations = (np.random.default_rng(0).normal(3, 4, (500, 2, 5)) % 100).astype(dtype)
    expected = normalize.normalize_obs(observations)
    assert (np.abs(expected) == np.float32(1.3)).any()
    assert_same_bits(normalized(observations, statistics), expected)


@given(
    observation=st.lists(st.floats(allow_nan=False), min_size=3, max_size=3),
    seed=st.integers(0, 100),
    epsilon=st.floats(1e-12, 1.0),
    clip=st.floats(1e-3, 1e6) | st.just(np.inf) | st.integers(1, 100),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_statistics_are_computed_as_sb3_does(tmp_path, observation, seed, epsilon, clip):
    normalize = normalizing(seed=seed, steps=3, epsilon=epsilon, clip_obs=clip)
    (statistics,) = read_vecnormalize(saved(tmp_path, normalize)).statistics.values()
    observations = np.array([observation])
    with np.errstate(over="ignore", invalid="ignore"):
        assert_same_bits(normalized(observations, statistics), normalize.normalize_obs(observations))


def test_the_named_parts_of_a_dict_are_normalised(tmp_path):
    normalize = wrapped(PARTS, norm_obs_keys=["speed", "counts"])
    found = read_vecnormalize(saved(tmp_path, normalize))
    assert set(found.statistics) == {"speed", "counts"}
    observation = {key: space.sample()[None] for key, space in PARTS.spaces.items() if key in found.statistics}
    expected = normalize.normalize_obs(observation)
    for key, statistics in found.statistics.items():
        assert_same_bits(normalized(observation[key], statistics), expected[key])


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_all_parts_are_normalised_where_an_old_file_names_none(tmp_path, kind):
    def as_of_old(state):
        del state["norm_obs_keys"]
        state["obs_rms"] = kind(state["obs_rms"])

    two = spaces.Dict({key: PARTS[key] for key in ("speed", "counts")})
    found = read_vecnormalize(changed(tmp_path, as_of_old, wrapped(two)))
    assert set(found.statistics) == {"speed", "counts"}


@pytest.mark.parametrize("space", [PARTS, spaces.Box(-1, 1, (3,)), spaces.Discrete(4), spaces.MultiBinary(3)])
def test_nothing_is_normalised_where_only_rewards_are(tmp_path, space):
    found = read_vecnormalize(saved(tmp_path, wrapped(space, norm_obs=False)))
    assert found.statistics == {}
    assert found.inputs(found.space, "agent.zip") == {}


def test_statistics_that_were_switched_off_are_not_used(tmp_path):
    normalize = normalizing()
    normalize.norm_obs = False
    assert read_vecnormalize(saved(tmp_path, normalize)).statistics == {}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(tmp_path, protocol):
    path = tmp_path / "vecnormalize.pkl"
    normalize = normalizing()
    path.write_bytes(pickle.dumps(normalize, protocol))
    (statistics,) = read_vecnormalize(path).statistics.values()
    np.testing.assert_array_equal(statistics.mean, normalize.obs_rms.mean)


def test_the_names_of_inputs_are_those_of_the_policy(tmp_path):
    one = read_vecnormalize(saved(tmp_path, normalizing()))
    assert set(one.inputs(box(3), "agent.zip")) == {"observation"}
    several = read_vecnormalize(saved(tmp_path, wrapped(PARTS, norm_obs_keys=["speed"])))
    assert set(several.inputs(several.space, "agent.zip")) == {"observation.speed"}


def test_images_are_normalised_in_the_layout_that_the_policy_sees(tmp_path):
    normalize = wrapped(CAMERA)
    found = read_vecnormalize(changed(tmp_path, before_1_7, normalize))
    images = np.random.default_rng(0).integers(0, 256, (4, 36, 40, 3), np.uint8)
    expected = normalize.normalize_obs(images)
    assert_same_bits(normalized(images, found.inputs(image(36, 40, 3), "agent.zip")["observation"]), expected)
    first = found.inputs(image(3, 36, 40), "agent.zip")["observation"]
    assert_same_bits(normalized(images.transpose(0, 3, 1, 2), first), expected.transpose(0, 3, 1, 2))
    with pytest.raises(BuildError):
        found.inputs(box(3, 36, 40), "agent.zip")


def test_a_part_that_is_not_normalised_may_be_transposed(tmp_path):
    found = read_vecnormalize(saved(tmp_path, wrapped(PARTS, norm_obs_keys=["speed"])))
    parts = parts_of(found) | {"camera": image(3, 36, 40)}
    assert set(found.inputs(Dict(tuple(parts.items())), "agent.zip")) == {"observation.speed"}


@pytest.mark.parametrize(
    ("space", "shown"),
    [
        (box(4), "Box of shape (4,)"),
        (box(3, 1), "Box of shape (3, 1)"),
        (Dict((("a", box(3)),)), "'a' Box of shape (3,)"),
    ],
)
def test_an_agent_of_other_observations_is_an_error_that_names_both(tmp_path, space, shown):
    path = saved(tmp_path, normalizing())
    with pytest.raises(BuildError) as refused:
        read_vecnormalize(path).inputs(space, "agent.zip")
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "agent.zip" in message
    assert f"for Box of shape (3,), not for {shown};" in message


@pytest.mark.parametrize("change", [{"speed": box(5)}, {"speed": None}, {"more": box(1)}])
def test_a_dict_of_other_parts_is_an_error(tmp_path, change):
    found = read_vecnormalize(saved(tmp_path, wrapped(PARTS, norm_obs_keys=["speed"])))
    parts = {key: space for key, space in (parts_of(found) | change).items() if space is not None}
    with pytest.raises(BuildError, match="other observations"):
        found.inputs(Dict(tuple(parts.items())), "agent.zip")


def setting(name, value):
    return lambda state: state.__setitem__(name, value)


def without(name):
    return lambda state: state.__delitem__(name)


def statistic(**parts):
    """
    Mean or variance replaced.
    """
    return lambda state: vars(state["obs_rms"]).update(parts)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("observation_space"), "has no observation_space"),
        (without("obs_rms"), "has no obs_rms"),
        (without("epsilon"), "has no epsilon"),
        (without("clip_obs"), "has no clip_obs"),
        (without("norm_obs"), "has no norm_obs"),
        (setting("norm_obs", 1), "norm_obs must be true or false, found 1"),
        (setting("norm_obs", "no"), "expected a number"),
        (setting("clip_obs", -1.0), "clip_obs must be above 0, found -1.0"),
        (setting("clip_obs", np.nan), "clip_obs must be above 0, found nan"),
        (setting("clip_obs", 10**400), "clip_obs is beyond all floating numbers"),
        (setting("clip_obs", None), "clip_obs: expected a number"),
        (setting("epsilon", -200.0), "epsilon is -200.0"),
        (setting("epsilon", np.nan), "epsilon is nan"),
        (setting("epsilon", np.inf), "epsilon is inf"),
        (setting("obs_rms", {"": running(np.zeros(3), np.ones(3))}), "holds a dict"),
        (setting("obs_rms", None), "RunningMeanStd"),
        (setting("obs_rms", spaces.Discrete(2)), "gymnasium.spaces.discrete.Discrete"),
        (setting("observation_space", spaces.Discrete(3)), "has a Discrete there"),
        (setting("observation_space", spaces.Box(-1, 1, (4,))), "must be float64 of shape (4,)"),
        (
            statistic(mean=np.zeros(3, np.float32)),
            "mean: must be float64 of shape (3,), as the observations are; found",
        ),
        (statistic(mean=np.zeros((3, 1))), "found float64 of shape (3, 1)"),
        (statistic(mean=np.array([0, np.nan, 0])), "mean: holds NaN or infinity"),
        (statistic(mean=np.array([0, np.inf, 0])), "mean: holds NaN or infinity"),
        (statistic(mean=[0.0, 0.0, 0.0]), "expected a NumPy array"),
        (statistic(mean=np.array([None] * 3)), "only bool, integer and float types are read"),
        (statistic(var=np.array([1, np.nan, 1])), "var: holds NaN, infinity, or a negative variance"),
        (statistic(var=np.array([1, np.inf, 1])), "var: holds NaN, infinity, or a negative variance"),
        (statistic(var=np.array([1, -1e-9, 1])), "var: holds NaN, infinity, or a negative variance"),
        (statistic(var=np.ones(4)), "var: must be float64 of shape (3,)"),
        (lambda state: state["obs_rms"].__dict__.pop("var"), "has no var"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, words):
    assert words in refusal(changed(tmp_path, change))


def test_a_deviation_of_zero_is_refused(tmp_path):
    def still(state):
        state["epsilon"] = 0.0
        state["obs_rms"].var[1] = 0.0

    assert "would be divided by 0 or NaN: epsilon is 0.0" in refusal(changed(tmp_path, still))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (setting("norm_obs_keys", ["speed", "height"]), "obs_rms of 'height': the observation space has no such part"),
        (setting("norm_obs_keys", ["switch"]), "obs_rms of 'switch': the observation space has a Discrete there"),
        (setting("norm_obs_keys", ["counts"]), "obs_rms of 'counts': there are no statistics for it"),
        (setting("norm_obs_keys", None), "norm_obs_keys must be a list of texts, found None"),
        (setting("norm_obs_keys", [1]), "norm_obs_keys must be a list of texts, found a list"),
        (setting("obs_rms", running(np.zeros(4), np.ones(4))), "obs_rms: expected a dict"),
    ],
)
def test_a_damaged_file_of_a_dict_is_refused(tmp_path, change, words):
    assert words in refusal(changed(tmp_path, change, wrapped(PARTS, norm_obs_keys=["speed"])))


class Wider(VecNormalize):  # type: ignore[misc]
    """
    May compute something else.
    """


def test_another_class_is_refused_by_name(tmp_path):
    normalize = normalizing()
    normalize.__class__ = Wider
    message = refusal(saved(tmp_path, normalize))
    assert f"{__name__}.Wider" in message
    assert "expected the pickle that Stable-Baselines3's VecNormalize.save() writes" in message


@pytest.mark.parametrize("content", [b"PK\x03\x04 the agent's own file", b"text", b"{}", b"(lp0\n."])
def test_a_file_that_is_no_pickle_is_refused(tmp_path, content):
    path = tmp_path / "vecnormalize.pkl"
    path.write_bytes(content)
    assert "is not a pickle; expected the pickle that" in refusal(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = saved(tmp_path, normalizing())
    content = path.read_bytes()
    for size in (1, 2, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        refusal(path)
    path.write_bytes(content + b"more")
    assert "follow the end" in refusal(path)


def test_a_missing_file_is_refused(tmp_path):
    assert "can't be opened" in refusal(tmp_path / "nothing.pkl")


@pytest.mark.skipif(ZOO is None, reason="POLICYC_ZOO names no folder of trained agents")
def test_the_statistics_of_the_zoo_are_read():
    assert ZOO is not None
    files = sorted(ZOO.glob("*/*.vecnormalize.pkl"))
    assert len(files) >= 5
    for path in files:
        found = read_vecnormalize(path)
        assert found.statistics
        assert found.inputs(found.space, "agent.zip").keys() == {
            "observation" + f".{key}" * bool(key) for key in found.statistics
        }
        assert all(statistics.clip == 10 for statistics in found.statistics.values())
