"""
Libraries in C answer as Stable-Baselines3 does, with the kernels of each level of x86-64, and refuse as they say.
"""

import threading
from typing import Any

import numpy as np
import pytest

from compiler.targets.shared import Library
from tests.golden.agents import make, observations_for, save
from tests.golden.expected import given_for
from tests.golden.predictors import check_answers, check_batch, check_singles
from tests.targets import libraries
from tests.targets.libraries import built, faced, levels
from tests.thorough import chosen

OK, NOT_FINITE, OVERFLOW, OUT_OF_RANGE = 0, -2, -3, -4
GOLDENS = (
    "ppo_uneven",
    "maskable_several",
    "sac_float64",
    "ppo_integer_bounds",
    "dqn_cnn",
    "ppo_dict",
    "a2c_several_choices",
    "ppo_bits",
    "ppo_discrete_observation",
    "maskable_bits",
    "recurrent_discrete",
    "recurrent_two_layers",
    "ars_linear",
)
UNTOUCHED = 77

pytestmark = libraries.needs_linux


@pytest.mark.slow
@pytest.mark.parametrize("name", chosen(GOLDENS, "ppo_uneven", "recurrent_two_layers"))
def test_every_level_answers_as_sb3_does(name, tmp_path):
    agent = make(name)
    made = libraries.make(tmp_path / "made", libraries.sources_of(save(name, tmp_path)))
    given = given_for(agent, observations_for(agent.observation_space))
    for _, folder in levels(made):
        with faced(folder / made.shared.name, made) as predictor:
            check_batch(agent, predictor, given)
            check_singles(agent, predictor, given)
    with faced(made.shared, made) as predictor:
        check_answers(agent, predictor)


def test_each_level_has_instructions_of_its_own():
    made = built("cartpole", cpu="portable")
    names = [level.suffix for level, _ in levels(made)]
    assert names[:1] == ["_v2"] or len(names) == 1
    texts = {(folder / made.shared.name).read_bytes() for _, folder in levels(made)}
    assert len(texts) == len(names)


def arrays_of(made: Any, count: int, seed: int = 1) -> list[np.ndarray]:
    """
    What the interface takes for `count` observations, at random; of masks about half.
    """
    rng = np.random.default_rng(seed)
    sizes = {part.array.name: part.sizes for part in made.sources.policy.predictor.parts}
    arrays = []
    for array in made.sources.policy.given:
        shape = (count, array.count)
        if array.dtype == "int64":
            arrays.append(rng.integers(0, sizes[array.name], shape))
        elif array.dtype in ("uint8", "bool"):
            arrays.append(rng.integers(0, 2 if array.dtype == "bool" else 256, shape).astype(np.uint8))
        else:
            arrays.append((rng.standard_normal(shape) * 2).astype(array.dtype))
    return arrays


def one_by_one(library: Library, made: Any, given: list[Any], count: int) -> tuple[np.ndarray, np.ndarray]:
    actions, scores = results_for(made, count)
    for row in range(count):
        one = [None if array is None else array[row] for array in given]
        assert library.predict(one, actions[row], scores[row]) == OK
    return actions, scores


def results_for(made: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    predictor = made.sources.policy.predictor
    actions = np.full((count, predictor.action.count), UNTOUCHED, predictor.action.dtype)
    return actions, np.full((count, predictor.score.count), UNTOUCHED, np.float32)


@pytest.mark.parametrize("kind", ["dict", "masked", "normalised", "uneven"])
def test_batches_of_every_size_give_what_one_observation_gives(kind):
    made = built(kind)
    library, given = Library(made.shared, made.sources.policy), arrays_of(made, 70)
    actions, scores = one_by_one(library, made, given, 70)
    for count in (*range(36), 48, 70):
        found, scored = results_for(made, count + 1)
        assert library.predict_batch(count, given, found, scored) == OK
        np.testing.assert_allclose(scored[:count], scores[:count], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[:count], actions[:count], rtol=1e-4, atol=1e-5)
        assert (found[count] == UNTOUCHED).all()
        assert (scored[count] == UNTOUCHED).all()
        without, _ = results_for(made, count)
        assert library.predict_batch(count, given, without, None) == OK
        np.testing.assert_array_equal(without, found[:count])


def test_no_masks_allow_everything():
    made = built("masked")
    library, given = Library(made.shared, made.sources.policy), arrays_of(made, 20)
    everything, nothing = [given[0], np.ones_like(given[1])], [given[0], None]
    expected = one_by_one(library, made, everything, 20)
    for found in (one_by_one(library, made, nothing, 20), results_for(made, 20)):
        if (found[0] == UNTOUCHED).all():
            assert library.predict_batch(20, nothing, *found) == OK
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-6)
    for truth in (2, 128, 255):  # any value but 0 allows
        found = one_by_one(library, made, [given[0], given[1] * np.uint8(truth)], 20)
        np.testing.assert_array_equal(found[0], one_by_one(library, made, given, 20)[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["dict", "masked", "normalised", "recurrent", "uneven"])
def test_what_is_not_finite_is_refused_and_touches_nothing(kind, value):
    made = built(kind)
    library, given = Library(made.shared, made.sources.policy), arrays_of(made, 1)
    one = [array[0] for array in given]
    assert library.predict(one, *(results[0] for results in results_for(made, 1))) == OK
    memory = library.memory()
    for array in one:
        if array.dtype.kind != "f":
            continue
        for at in range(len(array)):
            before, array[at] = array[at], value
            action, scores = results_for(made, 1)
            assert library.predict(one, action[0], scores[0]) == NOT_FINITE
            assert (action == UNTOUCHED).all()
            assert (scores == UNTOUCHED).all()
            array[at] = before
    np.testing.assert_array_equal(library.memory(), memory)


@pytest.mark.parametrize("kind", ["uneven", "recurrent"])
def test_what_is_too_large_is_refused_and_touches_nothing(kind):
    made = built(kind)
    library = Library(made.shared, made.sources.policy)
    huge = [np.full_like(array[0], 3e38) for array in arrays_of(made, 1)]
    action, scores = results_for(made, 1)
    memory = library.memory()
    status = library.predict(huge, action[0], scores[0])
    if status == OK:  # a layer with tanh makes finite values of anything, unless sums of both signs overflow before
        assert np.isfinite(scores).all()
    else:
        assert status == OVERFLOW
        assert (action == UNTOUCHED).all()
        np.testing.assert_array_equal(library.memory(), memory)


def test_choices_that_there_are_not_are_refused():
    for kind in ("choice", "choices", "dict"):
        made = built(kind)
        library, given = Library(made.shared, made.sources.policy), arrays_of(made, 5)
        sizes = [part.sizes for part in made.sources.policy.predictor.parts]
        for array, own in zip(given, sizes, strict=False):
            for at, size in enumerate(own):
                for wrong in (-1, size, 2**40, -(2**63)):
                    before, array[3, at] = array[3, at], wrong
                    action, scores = results_for(made, 5)
                    one = [part[3] for part in given]
                    assert library.predict(one, action[0], scores[0]) == OUT_OF_RANGE
                    assert (action == UNTOUCHED).all()
                    assert library.predict_batch(5, given, *results_for(made, 5)) == OUT_OF_RANGE
                    array[3, at] = before


def test_nonfinite_propagates_where_that_is_chosen():
    made = built("dict", nonfinite="propagate")
    library, given = Library(made.shared, made.sources.policy), arrays_of(made, 9)
    given[-1][4] = np.nan
    _, scores = one_by_one(library, made, given, 9)
    assert np.isnan(scores[4]).all()
    assert np.isfinite(scores[[0, 8]]).all()
    found = results_for(made, 9)
    assert library.predict_batch(9, given, *found) == OK
    np.testing.assert_allclose(found[1], scores, rtol=1e-4, atol=1e-5)
    header = (made.folder / "agent.h").read_text("utf-8")
    assert header.count("Never given by this policy, which") == 2


def test_threads_with_states_of_their_own_do_not_disturb_each_other():
    made = built("recurrent")
    expected = [episode(made, seed) for seed in range(4)]
    found: dict[int, np.ndarray] = {}
    started = threading.Barrier(4)

    def play(seed: int) -> None:
        started.wait()
        for _ in range(5):
            found[seed] = episode(made, seed)

    threads = [threading.Thread(target=play, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        np.testing.assert_array_equal(found[seed], expected[seed])
    assert not np.array_equal(expected[0][0], expected[1][0])


def episode(made: Any, seed: int) -> np.ndarray:
    """
    The actions of an episode, which begins with a new state.
    """
    library = Library(made.shared, made.sources.policy)
    return one_by_one(library, made, arrays_of(made, 100, seed), 100)[0]


def test_an_episode_remembers_until_it_is_reset():
    made = built("recurrent")
    library = Library(made.shared, made.sources.policy)
    given = [np.repeat(array, 3, axis=0) for array in arrays_of(made, 1)]
    first = one_by_one(library, made, given, 3)[1]
    assert not np.array_equal(first[0], first[1])
    library.reset()
    assert not library.memory().any()
    np.testing.assert_array_equal(one_by_one(library, made, given, 3)[1], first)


@pytest.mark.parametrize("kind", ["normalised", "dict", "recurrent"])
def test_a_state_may_begin_at_any_float(kind):
    made = built(kind)
    given = arrays_of(made, 6)
    answers = []
    for offset in (0, 1, 3, 7, 15):
        library = Library(made.shared, made.sources.policy, offset)
        answers.append(one_by_one(library, made, given, 6)[1])
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])
