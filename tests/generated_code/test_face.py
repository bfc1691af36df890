"""
What users hand to a predictor, and what they get back: shapes, dtypes, refusals.
"""

import array
import importlib.util
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from compiler.ops.reference import evaluate
from compiler.options import BuildOptions
from tests.models import observations, policy, predictor

DISCRETE = policy((4,), (8,), 3, head="softmax", seed=4)
BOX = policy((2, 3), (5,), 4, head="rescale", bounds=np.float64, action_shape=(2, 2), kind="TD3Policy")
IMAGE = policy((3, 5, 4), (5,), 3, image=True)
CUBE = policy((3, 3, 3), (5,), 3, image=True, seed=2)
REAL = ["?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", "g"]


@pytest.fixture(scope="module")
def modules(tmp_path_factory) -> Iterator[dict[str, ModuleType]]:
    """
    Two compiled predictors; those of images are plain Python, whose face is the same.
    """
    folder = tmp_path_factory.mktemp("faces")
    with (
        predictor(folder / "discrete", DISCRETE) as discrete,
        predictor(folder / "box", BOX, BuildOptions(lanes=8)) as box,
        predictor(folder / "image", IMAGE, plain=True) as image,
        predictor(folder / "cube", CUBE, plain=True) as cube,
    ):
        yield {"discrete": discrete, "box": box, "image": image, "cube": cube}


@pytest.fixture(scope="module")
def discrete(modules) -> ModuleType:
    return modules["discrete"]


@pytest.fixture(scope="module")
def box(modules) -> ModuleType:
    return modules["box"]


def scores(model, rows) -> np.ndarray:
    values = evaluate(model, {"observation": np.asarray(rows, np.float32)})
    return values[next(output.tensor for output in model.outputs if output.role == "scores")]


def readonly(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def unaligned(x: np.ndarray) -> np.ndarray:
    room = np.zeros(x.nbytes + 1, np.uint8)
    result = room[1:].view(x.dtype).reshape(x.shape)
    result[...] = x
    assert not result.flags.aligned
    return result


def field(x: np.ndarray) -> np.ndarray:
    records = np.zeros(len(x), [("before", "i1"), ("x", x.dtype, x.shape[1:])])
    records["x"] = x
    return records["x"]


class Subclass(np.ndarray):
    pass


class ArrayLike:
    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.x


FORMS: dict[str, Callable[[Any], Any]] = {
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(map(tuple, x)) if x.ndim > 1 else tuple(x.tolist()),
    "list of arrays": list,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "strided rows": lambda x: np.repeat(x, 3, axis=0)[::3],
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1],
    "Fortran": np.asfortranarray,
    "transposed": lambda x: x.T.copy().T,
    "read-only": readonly,
    "unaligned": unaligned,
    "subclass": lambda x: x.view(Subclass),
    "record's field": field,
    "memoryview": memoryview,
    "masked": np.ma.array,
    "__array__": ArrayLike,
    "big-endian": lambda x: x.astype(">f4"),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_observations(discrete, box, form):
    for module, model in ((discrete, DISCRETE), (box, BOX)):
        rows = observations(model, 3)
        for given in (rows[0], rows):
            right = module.predict(given)[0]
            observation = FORMS[form](given)
            assert np.array_equal(module.predict(observation)[0], right)
            assert np.array_equal(module.scores(observation), module.scores(given))
        assert np.array_equal(module.act(FORMS[form](rows[0])), module.act(rows[0]))
        layers = module.layers(FORMS[form](rows[0]))
        assert all(np.array_equal(value, layers[name]) for name, value in module.layers(rows[0]).items())


@pytest.mark.parametrize("dtype", [*REAL, ">f8", ">i4", "<f2", ">u2"])
def test_dtypes_of_observations(discrete, dtype):
    rows = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 1, 1]], dtype)
    for observation in (rows[0], rows, np.asfortranarray(rows), rows[:, ::-1]):
        right = discrete.scores(observation.astype(np.float32))
        assert np.array_equal(discrete.scores(observation), right)
        assert np.array_equal(discrete.predict(observation)[0], right.argmax(axis=-1))
    assert discrete.act(rows[0]) == discrete.act(rows[0].astype(np.float32))


def test_other_containers(discrete):
    values = [0.5, -0.25, 0.125, 2.0]
    right = discrete.act(np.array(values, np.float32))
    for observation in (array.array("f", values), array.array("d", values), [np.float32(v) for v in values]):
        assert discrete.act(observation) == right
        assert discrete.predict(observation)[0] == right
    assert discrete.act([1, 0, 2, 3]) == discrete.act(np.array([1, 0, 2, 3], np.float32))


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="torch is not installed")
def test_torch_tensors(discrete, box):
    import torch

    for module, model in ((discrete, DISCRETE), (box, BOX)):
        rows = observations(model, 3)
        tensor = torch.from_numpy(rows.copy())
        assert np.array_equal(module.predict(tensor)[0], module.predict(rows)[0])
        assert np.array_equal(module.act(tensor[0]), module.act(rows[0]))
        assert np.array_equal(module.act(tensor[0].double()), module.act(rows[0]))
        with pytest.raises(ValueError, match="requires grad"):
            module.act(tensor[0].clone().requires_grad_())


def test_results(discrete, box):
    rows = observations(DISCRETE, 5)
    action, state = discrete.predict(rows[0])
    assert (type(action), action.shape, action.dtype, state) == (np.ndarray, (), np.int64, None)
    actions, _ = discrete.predict(rows)
    assert (actions.shape, actions.dtype) == ((5,), np.int64)
    assert discrete.predict(rows[:1])[0].shape == (1,)
    assert type(discrete.act(rows[0])) is int
    assert (discrete.scores(rows[0]).shape, discrete.scores(rows).shape) == ((3,), (5, 3))
    assert discrete.scores(rows).dtype == np.float32

    rows = observations(BOX, 5)
    for action, shape in (
        (box.predict(rows[0])[0], (2, 2)),
        (box.act(rows[0]), (2, 2)),
        (box.predict(rows)[0], (5, 2, 2)),
        (box.predict(rows[:1])[0], (1, 2, 2)),
    ):
        assert (type(action), action.shape, action.dtype) == (np.ndarray, shape, np.float64)
        assert action.flags.owndata or action.base is not None
        action += 1  # results are the caller's own
    assert (box.scores(rows[0]).shape, box.scores(rows).shape, box.scores(rows).dtype) == ((4,), (5, 4), np.float32)


def test_single_and_batch_agree_with_the_reference(discrete, box):
    for module, model in ((discrete, DISCRETE), (box, BOX)):
        rows = observations(model, 40)
        right = scores(model, rows)
        assert np.allclose(module.scores(rows), right, rtol=1e-5, atol=1e-5)
        assert np.allclose([module.scores(row) for row in rows], right, rtol=1e-5, atol=1e-5)
        batch = module.predict(rows)[0]
        assert np.allclose([module.predict(row)[0] for row in rows], batch, rtol=0, atol=1e-6)
        assert np.allclose([module.act(row) for row in rows], batch, rtol=0, atol=1e-6)


def test_images(modules):
    image = modules["image"]
    rows = observations(IMAGE, 13).astype(np.uint8)
    cameras = np.ascontiguousarray(rows.transpose(0, 2, 3, 1))
    right = scores(IMAGE, rows)
    for observation in (rows, cameras, rows.astype(np.float64), cameras.tolist()):
        assert np.allclose(image.scores(observation), right, atol=1e-5)
    for observation, expected in ((rows[2], right[2]), (cameras[2], right[2]), (cameras[::-1][3], right[9])):
        assert np.allclose(image.scores(observation), expected, atol=1e-5)
        assert image.act(observation) == expected.argmax()
        assert image.predict(observation)[0].shape == ()
    assert image.predict(cameras[:1])[0].shape == (1,)
    for shape in ((5, 3, 4), (3, 4, 5), (13, 4, 3, 5), (5, 4), (2, 13, 3, 5, 4)):
        with pytest.raises(ValueError, match=r"expected shape \(3, 5, 4\)"):
            image.predict(np.zeros(shape, np.uint8))


def test_an_image_that_fits_as_it_is_stays_as_it_is(modules):
    rows = observations(CUBE, 4)
    assert np.allclose(modules["cube"].scores(rows), scores(CUBE, rows), atol=1e-5)
    assert np.allclose(modules["cube"].scores(rows[0]), scores(CUBE, rows)[0], atol=1e-5)


GRID = np.zeros((4, 4), np.float32)
REFUSED: dict[str, tuple[Any, str]] = {
    "too few": (np.zeros(3, np.float32), r"expected shape \(4,\), or \(n, 4\) .*found \(3,\)"),
    "too many": (np.zeros(5, np.float32), r"found \(5,\)"),
    "wrong rows": (np.zeros((2, 3)), r"found \(2, 3\)"),
    "three dimensions": (np.zeros((1, 1, 4), np.float32), r"found \(1, 1, 4\)"),
    "empty batch": (np.zeros((0, 4), np.float32), r"n of at least 1, found \(0, 4\)"),
    "empty": ([], r"found \(0,\)"),
    "empty float32": (np.zeros(0, np.float32), r"found \(0,\)"),
    "nothing at all": (np.zeros((4, 0)), r"found \(4, 0\)"),
    "scalar": (1.0, r"found \(\)"),
    "NumPy scalar": (np.float32(1), r"found \(\)"),
    "0-d": (np.array(1, np.float32), r"found \(\)"),
    "ragged": ([[1, 2, 3, 4], [1, 2]], r"expected an array of shape \(4,\), found list: "),
    "what reset returns": ((GRID[0], {}), r"expected an array of shape \(4,\), found a tuple .*env\.reset\(\)"),
    "reset of a number": ((1.0, {}), r"expected real numbers, found a tuple .*env\.reset\(\)"),
    "deep": ([[[[[[1, 2, 3, 4]]]]]], r"found \(1, 1, 1, 1, 1, 4\)"),
    "text": ("abcd", "expected real numbers, found str of dtype <U4"),
    "texts": (["1", "2", "3", "4"], "expected real numbers, found list of dtype <U1"),
    "bytes": (b"abcd", "expected real numbers, found bytes of dtype"),
    "None": (None, "expected real numbers, found NoneType of dtype object"),
    "Nones": ([None] * 4, "expected real numbers, found list of dtype object"),
    "object": (np.array([1, 2, 3, 4], object), "expected real numbers, found ndarray of dtype object"),
    "huge int": ([10**400, 0, 0, 0], "expected real numbers, found list of dtype object"),
    "dict": ({"observation": [1, 2, 3, 4]}, "expected real numbers, found dict of dtype object"),
    "set": ({1, 2, 3, 4}, "expected real numbers, found set of dtype object"),
    "generator": ((value for value in range(4)), "expected real numbers, found generator of dtype object"),
    "complex": (np.zeros(4, complex), "expected real numbers, found ndarray of dtype complex128"),
    "complex list": ([1j, 0, 0, 0], "expected real numbers, found list of dtype complex128"),
    "dates": (np.zeros(4, "M8[s]"), "expected real numbers, found ndarray of dtype datetime64"),
    "durations": (np.zeros(4, "m8[s]"), "expected real numbers, found ndarray of dtype timedelta64"),
    "records": (np.zeros(4, [("x", "f4")]), "expected real numbers, found ndarray of dtype"),
    "void": (np.zeros(4, "V4"), "expected real numbers, found ndarray of dtype"),
    "NaN": ([0, 0, np.nan, 0], r"observation 0 of 1: expected finite numbers, found nan at \(2,\)"),
    "infinity": ([0, 0, 0, -np.inf], r"found -inf at \(3,\)"),
    "float32 NaN": (np.array([np.nan, 0, 0, 0], np.float32), r"found nan at \(0,\)"),
    "beyond float32": ([0, 1e300, 0, 0], r"found inf at \(1,\)"),
    "NaN in a batch": (np.where(np.eye(4) * [0, 0, 1, 0], np.nan, GRID), r"observation 2 of 4: .* nan at \(2,\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_observations(discrete, case):
    observation, text = REFUSED[case]
    for call in (discrete.predict, discrete.scores):
        with pytest.raises(ValueError, match=text):
            call(observation)
    if "batch" not in case or case == "empty batch":
        with pytest.raises(ValueError, match=text):
            discrete.act(observation)


def test_refusals_of_other_shapes(box):
    rows = observations(BOX, 20)
    rows[17, 1, 2] = np.inf
    with pytest.raises(ValueError, match=r"observation 17 of 20: expected finite numbers, found inf at \(1, 2\)"):
        box.predict(rows)
    with pytest.raises(ValueError, match=r"observation 0 of 1: expected finite numbers, found inf at \(1, 2\)"):
        box.act(rows[17])
    for observation in (np.zeros(6), np.zeros((3, 2)), np.zeros((4, 6)), np.zeros((1, 1, 2, 3))):
        for call in (box.predict, box.act, box.scores, box.layers):
            with pytest.raises(ValueError, match=r"expected shape \(2, 3\), or \(n, 2, 3\)"):
                call(observation)
    for call in (box.act, box.layers):
        with pytest.raises(ValueError, match=r"expected one, of shape \(2, 3\), found 4 in a batch"):
            call(np.zeros((4, 2, 3)))
    itself: list[Any] = []
    itself.append(itself)
    with pytest.raises(ValueError, match="observation: expected"):
        box.act(itself)


def test_a_network_that_overflows(tmp_path):
    model = policy((4,), (8,), 3, activations="relu")
    with predictor(tmp_path / "overflow", model, plain=True) as module:
        rows = observations(model, 20)
        rows[7] = 3e38
        for call in (module.predict, module.scores):
            with pytest.raises(ValueError, match="the network's output is not finite"):
                call(rows)
        for call in (module.predict, module.scores, module.act):
            with pytest.raises(ValueError, match="the network's output is not finite"):
                call(rows[7])
            call(rows[6])


def test_a_batch_for_act_is_refused(discrete):
    for batch in (np.zeros((1, 4), np.float32), np.zeros((7, 4)), [[0, 0, 0, 0]]):
        with pytest.raises(ValueError, match=r"found \d in a batch"):
            discrete.act(batch)


def test_arguments_that_such_policies_do_not_need(discrete, box):
    row, state = observations(DISCRETE, 1)[0], (np.zeros(3), "state")
    assert discrete.predict(row, state, np.array([True]))[1] is state
    assert discrete.predict(row, deterministic=np.True_)[1] is None
    row = observations(BOX, 1)[0]
    assert np.array_equal(box.predict(row, deterministic=False)[0], box.predict(row)[0])


def test_observations_stay_as_they_are(discrete, box):
    for module, model in ((discrete, DISCRETE), (box, BOX)):
        rows = observations(model, 33)
        for given in (rows, rows[0], rows.astype(np.float64), np.asfortranarray(rows)):
            before = given.tobytes()
            module.predict(given)
            module.scores(given)
            if given.ndim == rows.ndim - 1:
                module.act(given)
                module.layers(given)
            assert given.tobytes() == before


def test_no_warnings_and_no_floating_point_errors(discrete):
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        discrete.predict([1e-300, 1e-40, -0.0, 1e-310])
        with pytest.raises(ValueError, match="finite"):
            discrete.act([1e300, 0, 0, np.nan])


def test_a_million_broadcast_rows(discrete):
    row = observations(DISCRETE, 1)
    rows = np.broadcast_to(row, (1_000_000, 4))
    assert rows.strides[0] == 0
    actions, _ = discrete.predict(rows)
    assert actions.shape == (1_000_000,)
    assert (actions == discrete.act(row[0])).all()


def test_many_python_threads_at_once(discrete, box, monkeypatch):
    monkeypatch.setattr(discrete.predictor, "THREADS_FROM", 1000)  # and those of the predictors as well
    jobs = []
    for module, model in ((discrete, DISCRETE), (box, BOX)):
        rows = observations(model, 3000)
        right = module.scores(rows), module.predict(rows)[0], np.array([module.act(row) for row in rows[:100]])
        jobs.append((module, rows, *right))

    def work(number: int) -> bool:
        module, rows, *right = jobs[number % 2]
        start = number % 7
        found = module.scores(rows[start:]), module.predict(rows[start:])[0]
        alone = np.array([module.act(row) for row in rows[start:100]])
        near = np.allclose(found[0], right[0][start:], atol=1e-5)
        return near and np.allclose(found[1], right[1][start:], atol=1e-5) and bool((alone == right[2][start:]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_predicts_large_batches(discrete, monkeypatch):
    monkeypatch.setattr(discrete.predictor, "THREADS_FROM", 1000)
    rows = observations(DISCRETE, 5000)
    right = discrete.scores(rows)  # the threads are running now, where there is more than one processor
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if discrete.scores(rows).tobytes() == right.tobytes() else 1)
        finally:
            os._exit(2)
    limit = time.monotonic() + 30
    found, status = os.waitpid(child, os.WNOHANG)
    while not found and time.monotonic() < limit:
        time.sleep(0.01)
        found, status = os.waitpid(child, os.WNOHANG)
    if not found:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert found, "the child hangs"
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_scalar_observation(tmp_path):
    model = policy((), (3,), 2)
    with predictor(tmp_path / "scalar", model, plain=True) as module:
        right = scores(model, np.array([0.5, -1, 2]))
        assert np.allclose(module.scores([0.5, -1, 2]), right, atol=1e-6)
        assert np.allclose(module.scores(0.5), right[0], atol=1e-6)
        assert module.act(np.float32(-1)) == right[1].argmax()
        with pytest.raises(ValueError, match=r"found nan at \(\)"):
            module.act(np.nan)
