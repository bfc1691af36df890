"""
Kernels of all shapes against the reference: layer by layer, one observation, blocks, threads.
"""

import importlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from compiler.ir import BATCH, Box, Discrete, DType, Model, Output, Tensor
from compiler.loading import imported
from compiler.ops import OPS
from compiler.ops.builder import GraphBuilder
from compiler.ops.reference import evaluate
from compiler.options import LANES, BuildOptions
from compiler.pipeline import run_passes
from tests.models import observations, policy, predictor, sources, write
from tests.thorough import chosen

Activation = Any

# Every activation, and every size that fills registers, or misses that by one.
MIXED: tuple[tuple[int, Activation], ...] = (
    (300, "tanh"),
    (15, "relu"),
    (64, ("gelu", {"approximate": "none"})),
    (2, "leaky_relu"),
    (17, "sigmoid"),
    (33, "mish"),
    (16, ("softplus", {"beta": 2.0})),
    (100, "elu"),
    (1, ""),
    (7, "hardswish"),
    (31, "softmax"),
    (3, "silu"),
    (65, ("gelu", {"approximate": "tanh"})),
    (8, "log_softmax"),
    (24, ("celu", {"alpha": 0.5})),
    (4, ("hardtanh", {"min_val": -2.0, "max_val": float("inf")})),
    (16, "softsign"),
    (16, ("threshold", {"threshold": -0.5, "value": -0.25})),
    (12, "hardshrink"),
    (9, "selu"),
    (5, "tanhshrink"),
    (32, "hardsigmoid"),
    (33, "log_sigmoid"),
    (17, ("softshrink", {"lambd": 0.125})),
)
HEADS = {
    1: {"head": "clip", "bounds": np.float64},
    4: {"head": "rescale", "bounds": np.float64},
    8: {"head": "clip", "bounds": np.float32},
    16: {"head": "rescale", "bounds": np.float32},
}
BATCHES = (*range(1, 41), 1000)


@dataclass(frozen=True)
class Built:
    module: ModuleType
    source: Model
    model: Model
    lanes: int


def built(folder, source: Model, **choices) -> Iterator[Built]:
    plain = choices.pop("plain", False)
    options = BuildOptions(**choices)
    with predictor(folder, source, options, plain=plain) as module:
        yield Built(module, source, run_passes(source, options), options.lanes)


@pytest.fixture(scope="module", params=chosen(LANES, 16))
def mixed(request, tmp_path_factory) -> Iterator[Built]:
    quarter = LANES.index(request.param)
    source = mixture(MIXED[6 * quarter : 6 * quarter + 6], 7, **HEADS[request.param])
    yield from built(tmp_path_factory.mktemp("mixed") / "mixed", source, lanes=request.param)


def mixture(layers: Sequence[tuple[int, Activation]], outputs: int, **settings) -> Model:
    widths, activations = zip(*layers, strict=True)
    return policy((65,), widths, outputs, activations=list(activations), **settings)


def near(found: Any, right: Any, tolerance: float = 1e-5) -> bool:
    """
    Whether values agree, relative to the largest, at least 1; where NaN or infinite, exactly.
    """
    found, right = np.asarray(found, np.float64), np.asarray(right, np.float64)
    same = (found == right) | (np.isnan(found) & np.isnan(right))
    finite = np.isfinite(right)
    scale = np.abs(right[finite]).max(initial=1)
    with np.errstate(invalid="ignore"):
        return bool((same | (finite & (np.abs(found - right) <= tolerance * scale))).all())


def check_layers(model: Model, observation: np.ndarray, values: dict[str, np.ndarray]) -> None:
    """
    Each layer alone: what it made of what the layer before it really gave.
    """
    wide = {tensor.name: tensor.data.astype(np.float64) for tensor in model.constants() if tensor.data is not None}
    wide[model.inputs[0]] = observation[None].astype(np.float64)
    for node in model.nodes:
        with np.errstate(all="ignore"):
            right = OPS[node.op].reference(*(wide[name] for name in node.inputs), **node.attributes)
        result = node.outputs[0]
        if node.op != "flatten":
            assert near(values[result].reshape(right.shape), right), f"{node.name}: {values[result]} and {right}"
            right = values[result].astype(np.float64).reshape(right.shape)
        wide[result] = right


def interface(model: Model) -> tuple[str, str]:
    scores, action = model.output("scores"), model.output("action")
    assert scores is not None
    assert action is not None
    return scores.tensor, action.tensor


def test_every_layer_of_one_observation(mixed):
    for observation in observations(mixed.source, 5):
        check_layers(mixed.model, observation, mixed.module.layers(observation))


def test_layers_are_alive(mixed):
    seen = [mixed.module.layers(observation) for observation in observations(mixed.source, 20)]
    for name in seen[0]:
        assert np.ptp([values[name] for values in seen], axis=0).max() > 1e-4, name


@pytest.mark.parametrize("lanes", LANES)
def test_every_activation_in_plain_python(lanes, tmp_path):
    source = mixture(MIXED, 7, **HEADS[lanes])
    for case in built(tmp_path / "plain", source, lanes=lanes, plain=True):
        layouts = {node.attributes["layout"] for node in case.model.nodes if node.op == "dense"}
        assert layouts == ({"columns"} if lanes == 1 else {"rows", "columns"})
        check_from_poison(case, observations(source, lanes))


def test_batches_of_every_size(mixed, monkeypatch):
    monkeypatch.setattr(mixed.module.predictor, "THREADS_FROM", 2000)  # threads are the next test
    rows = observations(mixed.source, max(BATCHES))
    scores, action = interface(mixed.source)
    right = evaluate(mixed.source, {mixed.source.inputs[0]: rows})
    assert mixed.module.SPEC["scores"]["count"] == right[scores].shape[1]
    for size in BATCHES:
        found = mixed.module.scores(rows[:size])
        assert near(found, right[scores][:size], 1e-4), size
        actions, _ = mixed.module.predict(rows[:size])
        assert near(actions, right[action][:size], 1e-4), size
    for row in range(40):
        assert near(mixed.module.scores(rows[row]), right[scores][row], 1e-4)
        assert near(mixed.module.scores(rows[row]), found[row], 1e-5)
        assert np.array_equal(mixed.module.act(rows[row]), mixed.module.predict(rows[row])[0])
        assert near(mixed.module.act(rows[row]), actions[row], 1e-5)


@pytest.mark.parametrize("mixed", chosen((16, 1), 16), indirect=True)
def test_threads_give_what_one_thread_gives(mixed, monkeypatch):
    module = mixed.module
    rows = observations(mixed.source, 5000)
    monkeypatch.setattr(module.predictor, "THREADS_FROM", 100)
    whole = module.scores(rows)
    threads = importlib.import_module(".threads", module.__name__)
    monkeypatch.setattr(threads, "LEAST", mixed.lanes)
    monkeypatch.setattr(threads, "THREADS", 3)
    for count in (len(rows), 1, mixed.lanes, 4097):
        results = []
        for room in ((), (np.empty(module.kernels.ROOM, np.float32),)):
            scores = np.full(count * module.predictor.SCORES, np.nan, np.float32)
            actions = np.full(count * 7, np.nan, module.predictor.ACTION_DTYPE)
            run = module.entries.predict_rows if room else module.threads.predict_rows
            given = rows[:count].reshape(-1)
            rows_of = (0, count, count) if room else (count,)
            assert run(*rows_of, given, module.predictor._address, actions, scores, *room) == 0
            results.append((scores, actions))
        for scores, actions in results[1:]:
            assert scores.tobytes() == results[0][0].tobytes()
            assert actions.tobytes() == results[0][1].tobytes()
        assert near(results[0][0].reshape(count, -1), whole[:count], 1e-5)
    rows[4321, 3] = np.nan
    with pytest.raises(ValueError, match=r"observation 4321 of 5000: .* nan at \(3,\)"):
        module.predict(rows)


def euler(sizes: Sequence[int]) -> list[int]:
    """
    A way through sizes on which each meets each, itself included.
    """
    path, open_ends = [], [sizes[0]]
    left = {size: list(sizes) for size in sizes}
    while open_ends:
        if left[open_ends[-1]]:
            open_ends.append(left[open_ends[-1]].pop())
        else:
            path.append(open_ends.pop())
    assert len(path) == len(sizes) ** 2 + 1
    return path[::-1]


SOME = (1, 2, 7, 16, 17, 33)
MANY = (1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 65, 129)
LARGE = (784, 300, 12, 784, 1, 300, 100, 16)


@pytest.mark.parametrize(
    ("sizes", "lanes"),
    [
        *(pytest.param(euler(SOME), lanes, id=f"some-{lanes}") for lanes in LANES),
        *(pytest.param(euler(MANY), lanes, id=f"many-{lanes}", marks=pytest.mark.slow) for lanes in chosen(LANES)),
        *(pytest.param(LARGE, lanes, id=f"large-{lanes}", marks=pytest.mark.slow) for lanes in chosen(LANES, 16)),
    ],
)
def test_every_pair_of_sizes_in_plain_python(sizes, lanes, tmp_path):
    source = policy((sizes[0],), sizes[1:-1], sizes[-1], activations="tanh", head="clip", bounds=np.float64, seed=lanes)
    for case in built(tmp_path / "plain", source, lanes=lanes, plain=True):
        check_from_poison(case, observations(source, max(1, lanes - 1)))


@pytest.mark.parametrize("lanes", LANES)
def test_zeros_are_passed_over(lanes, tmp_path, monkeypatch):
    monkeypatch.setattr("compiler.codegen.kernels.SPARSE", 0)
    source = policy((5,), (35, 18, 50), 3, activations=["relu", "tanh", "relu"], head="clip", seed=lanes)
    for case in built(tmp_path / "plain", source, lanes=lanes, plain=True):
        written = Path(importable(case)[0].__file__ or "").read_text()
        # Not what comes from an observation or from tanh, and no dot products.
        columns = [node.attributes["layout"] == "columns" for node in case.model.nodes if node.op == "dense"]
        assert written.count("if value != 0:") > 0
        assert ("value" in layer_of(written, "layer_1"), "value" in layer_of(written, "layer_2")) == (columns[1], False)
        check_from_poison(case, observations(source, max(1, lanes - 1)))


@pytest.mark.parametrize(("weight", "skips"), [(1.0, True), (np.inf, False), (np.nan, False)])
def test_zeros_meet_weights_that_are_not_finite(weight, skips, monkeypatch):
    monkeypatch.setattr("compiler.codegen.kernels.SPARSE", 0)
    source = policy((5,), (35, 50), 3, activations=["relu", ""])
    changed = np.array(source.tensors["1:layer.1.weight"].data)
    changed[3, 4] = weight
    tensors = {**source.tensors, "1:layer.1.weight": Tensor.constant("1:layer.1.weight", changed)}
    options = BuildOptions(nonfinite="propagate", allow_nonfinite_weights=True)
    written = sources(source.with_graph(source.nodes, tensors), options)["kernels.py"]
    assert ("if value != 0:" in str(written)) == skips


def layer_of(text: str, name: str) -> str:
    return text.split(f"def {name}(")[1].split("def ")[0]


def check_from_poison(case: Built, rows: np.ndarray) -> None:
    """
    Every layer, of single observations and of a block, right whatever the workspace held before.
    """
    for observation in rows[:2]:
        check_layers(case.model, observation, one_from_poison(case, observation))
    for observation, values in zip(rows, block_from_poison(case, rows), strict=True):
        check_layers(case.model, observation, values)


def one_from_poison(case: Built, observation: np.ndarray) -> dict[str, np.ndarray]:
    """
    The values of all layers, computed in a workspace that holds nothing but NaN before.
    """
    kernels, layers = importable(case)
    work = np.full(kernels.WORKSPACE, np.nan, np.float32)
    kernels.policy((observation.reshape(-1).copy(),), blob(case), work)
    return {name: work[begin:].view(dtype)[:count] for name, begin, count, dtype in layers}


def block_from_poison(case: Built, rows: np.ndarray) -> list[dict[str, np.ndarray]]:
    kernels, layers = importable(case)
    work = np.full(kernels.WORKSPACE * case.lanes, np.nan, np.float32)
    kernels.transpose(rows.reshape(-1).copy(), rows[0].size, len(rows), work)
    kernels.policy_block(blob(case), work)
    found = {
        name: work[begin * case.lanes :].view(dtype)[: count * case.lanes].reshape(count, case.lanes)
        for name, begin, count, dtype in layers
    }
    return [{name: values[:, lane] for name, values in found.items()} for lane in range(len(rows))]


def importable(case: Built) -> tuple[ModuleType, tuple]:
    case.module.layers(np.zeros(case.source.tensors["observation"].fixed_shape))  # imports inspection
    return case.module.kernels, case.module.inspection.LAYERS


def blob(case: Built) -> np.ndarray:
    return np.asarray(case.module.predictor._weights).view(np.float32)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("head", ["clip", "rescale"])
def test_a_layer_after_a_bounded_value(lanes, head, tmp_path):
    # No frontend makes this, a model file may: the kernel before leaves the rest of its register as it was.
    rng = np.random.default_rng(0)
    graph = GraphBuilder()
    graph.input("observation", DType.FLOAT32, (BATCH, 37))
    bounds = [graph.constant("low", np.full(37, -1, np.float32)), graph.constant("high", np.full(37, 1, np.float32))]
    bounded = graph.add(head, ["observation", *bounds], "bounded")
    weight, bias = rng.normal(size=(2, 37)).astype(np.float32), np.ones(2, np.float32)
    result = graph.add("linear", [bounded, graph.constant("w", weight), graph.constant("b", bias)], "last")
    action = graph.add("argmax", [result], "mode")
    source = replace(
        policy((37,)),
        nodes=tuple(graph.nodes),
        tensors=graph.tensors,
        outputs=(Output("action", action, "action"), Output("q_values", result, "scores")),
    )
    for case in built(tmp_path / "plain", source, lanes=lanes, plain=True):
        assert case.model.nodes[1].attributes["layout"] == ("columns" if lanes == 1 else "rows")
        check_from_poison(case, observations(source, lanes))


def test_scores_may_be_the_observation(tmp_path):
    source = policy((4,), (), 2)
    flat = source.nodes[0].outputs[0]
    source = replace(source, outputs=(source.outputs[0], Output("observation", flat, "scores")))
    for case in built(tmp_path / "plain", source, plain=True):
        rows = observations(source, 20)
        assert np.array_equal(case.module.scores(rows), rows)
        assert np.array_equal(case.module.scores(rows[0]), rows[0])


SPECIAL = (np.nan, np.inf, -np.inf, 3e38, -3e38)


@pytest.mark.parametrize(
    ("activation", "head", "lanes"),
    [("tanh", "argmax", 16), ("relu", "softmax", 8), ("silu", "clip", 4), ("log_softmax", "rescale", 16)],
)
def test_propagate_follows_the_reference(activation, head, lanes, tmp_path):
    # 7 values of a layer are padded to a register; what an infinite input leaves in the padding is NaN.
    source = policy((3,), (7, 33, 5), 2, activations=activation, head=head, seed=3)
    special = [np.zeros(3), *(np.eye(3)[place] * 0 + pattern for place in range(3) for pattern in patterns(place))]
    rows = np.array(special, np.float32)
    right = evaluate(source, {"observation": rows.astype(np.float32)})
    scores, action = interface(source)
    # Where sums overflow in float32 and not in float64, nothing is promised.
    with np.errstate(all="ignore"):
        compared = ~np.array(
            [
                any((np.abs(value[row]) > 1e37)[np.isfinite(value[row])].any() for value in results(source, right))
                for row in range(len(rows))
            ]
        )
    assert compared.sum() >= 10
    for case in built(tmp_path / "special", source, lanes=lanes, nonfinite="propagate", plain=True):
        check_special(case.module, rows[compared], right[scores][compared], right[action][compared])
    if head == "argmax":
        with predictor(tmp_path / "compiled", source, BuildOptions(lanes=lanes, nonfinite="propagate")) as module:
            check_special(module, rows[compared], right[scores][compared], right[action][compared])


def patterns(place: int) -> Iterator[np.ndarray]:
    for value in SPECIAL:
        pattern = np.array([0.5, -0.25, 0.125])
        pattern[place] = value
        yield pattern
        yield np.roll(pattern, 1) * pattern


def results(source: Model, values: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [values[node.outputs[0]].astype(np.float64) for node in source.nodes if node.op != "argmax"]


def check_special(module: ModuleType, rows: np.ndarray, scores: np.ndarray, actions: np.ndarray) -> None:
    for size in (len(rows), 12, 17, 3):
        assert near(module.scores(rows[:size]), scores[:size], 1e-4), (rows, module.scores(rows[:size]), scores)
        assert near(module.predict(rows[:size])[0], actions[:size], 1e-4)
    for row, observation in enumerate(rows):
        found = module.scores(observation)
        assert near(found, scores[row], 1e-4), (observation, found, scores[row])
        assert near(module.predict(observation)[0], actions[row], 1e-4)
        assert near(module.act(observation), actions[row], 1e-4)


@pytest.mark.parametrize("places", list(itertools.chain(*(itertools.combinations(range(5), n) for n in (1, 2, 5)))))
def test_argmax_takes_the_first_nan(places, tmp_path_factory, choosing):
    logits = np.array([0.5, 2, -1, 2, 0], np.float32)
    logits[list(places)] = np.nan
    assert choosing.act(logits) == places[0]
    assert choosing.predict(np.tile(logits, (20, 1)))[0].tolist() == [places[0]] * 20


def test_argmax_takes_the_first_of_equal(choosing):
    rows = np.array([[0, 2, 1, 2, 2], [0, 0, 0, 0, 0], [-0.0, 0, 0, 0, 0], [1, 2, np.inf, np.inf, 2]], np.float32)
    expected = [1, 0, 0, 2]
    assert [choosing.act(row) for row in rows] == expected
    assert choosing.predict(np.tile(rows, (5, 1)))[0].tolist() == expected * 5


@pytest.fixture(scope="module")
def choosing(tmp_path_factory) -> Iterator[ModuleType]:
    """
    Chooses the largest of 5 numbers: a policy without any layer.
    """
    graph = GraphBuilder()
    graph.input("observation", DType.FLOAT32, (BATCH, 5))
    action = graph.add("argmax", ["observation"], "mode")
    source = policy((5,))
    assert source.policy is not None
    source = replace(
        source,
        nodes=tuple(graph.nodes),
        tensors=graph.tensors,
        outputs=(Output("action", action, "action"), Output("observation", "observation", "scores")),
        policy=replace(source.policy, action_space=Discrete(5)),
    )
    options = BuildOptions(nonfinite="propagate")
    with predictor(tmp_path_factory.mktemp("choosing") / "choosing", source, options) as module:
        yield module


def test_lanes_without_an_observation_refuse_nothing(tmp_path):
    # This network overflows at 0, where the unused lanes of a block used to be.
    source = with_weights(policy((1,), (1,), 1, activations="relu"), ([[-1]], [1], [[3e38]], [3e38]))
    for case in built(tmp_path / "plain", source, plain=True):
        assert case.module.predict(np.ones((13, 1)))[0].tolist() == [0] * 13
        with pytest.raises(ValueError, match="not finite"):
            case.module.predict(np.zeros((13, 1)))


def with_weights(source: Model, weights: Sequence) -> Model:
    names = [tensor.name for tensor in source.constants()]
    tensors = dict(source.tensors)
    for name, value in zip(names, weights, strict=True):
        tensors[name] = replace(tensors[name], data=np.array(value, np.float32))
    return replace(source, tensors=tensors)


def test_two_predictors_of_different_registers_in_one_process(tmp_path):
    first, second = policy((4,), (8,), 3, seed=1), policy((4,), (8,), 3, seed=2)
    with (
        imported(write(tmp_path / "first", first, BuildOptions(lanes=1))) as one,
        imported(write(tmp_path / "second", second, BuildOptions(lanes=8))) as other,
    ):
        rows = observations(first, 30)
        for module, source in ((one, first), (other, second)):
            right = evaluate(source, {"observation": rows})[interface(source)[0]]
            assert near(module.scores(rows), right)
            assert near(module.scores(rows[0]), right[0])


@pytest.mark.parametrize("bounds", [np.float32, np.float64])
@pytest.mark.parametrize("head", ["clip", "rescale"])
def test_bounds_are_reached_and_never_left(head, bounds, tmp_path):
    source = policy((2,), (), 5, head=head, bounds=bounds)
    assert source.policy is not None
    space = source.policy.action_space
    assert isinstance(space, Box)
    for case in built(tmp_path / "plain", source, plain=True):
        rows = np.random.default_rng(0).choice([-1e4, -3.0, 0.0, 3.0, 1e4], size=(200, 2)).astype(np.float32)
        actions, _ = case.module.predict(rows)
        assert actions.dtype == bounds
        scale = np.finfo(bounds).eps * 4 if head == "rescale" else 0  # as SB3's own unscale_action
        assert (actions >= space.low * (1 + scale)).all()
        assert (actions <= space.high * (1 + scale)).all()
        assert near(actions.max(axis=0), space.high, 1e-6)
        assert near(actions.min(axis=0), space.low, 1e-6)


def test_no_kernel_is_compiled_twice(mixed):
    kernels = importlib.import_module(f"{mixed.module.__name__}.kernels")
    compiled = {name: len(found.overloads) for name, found in vars(kernels).items() if hasattr(found, "overloads")}
    assert max(compiled.values()) == 1, compiled
    assert sum(compiled.values()) > 5


def test_kernels_become_machine_code_with_entry_points_alone(mixed):
    kernels = importlib.import_module(f"{mixed.module.__name__}.kernels")
    compiled = [only for found in vars(kernels).values() for only in getattr(found, "overloads", {}).values()]
    assert len(compiled) > 5
    assert [only.fndesc.qualname for only in compiled if getattr(only.library, "_compiled_object", None)] == []
