"""
TorchScript archives: what torch computes of them, step by step, the predictor computes too.
"""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import compiler
from compiler.errors import BuildError, CheckpointError, UnsupportedError
from compiler.ops.reference import evaluate

# torch says of all TorchScript that torch.export is to be used; robots' policies are TorchScript all the same.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

REAL = os.environ.get("POLICYC_TORCHSCRIPT", "")
STEPS = 1000


class Walker(torch.nn.Module):  # type: ignore[misc]
    """
    A robot's policy as their exporters write it: an LSTM whose state is kept in buffers, then layers with ELU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.memory = torch.nn.LSTM(7, 16)
        self.actor = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ELU(), torch.nn.Linear(8, 3))
        self.register_buffer("hidden_state", torch.zeros(1, 1, 16))
        self.register_buffer("cell_state", torch.full((1, 1, 16), 0.25))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, (h, c) = self.memory(x.unsqueeze(0), (self.hidden_state, self.cell_state))
        self.hidden_state[:] = h
        self.cell_state[:] = c
        return self.actor(out.squeeze(0))


class History(torch.nn.Module):  # type: ignore[misc]
    """
    A policy that sees its last four observations, and counts them.
    """

    frames: torch.Tensor
    step: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net, self.pace = torch.nn.Linear(20, 2), torch.nn.Embedding(4, 2)
        self.register_buffer("frames", torch.zeros(1, 4, 5))
        self.register_buffer("step", torch.tensor(0))

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.frames = torch.cat([self.frames[:, 1:], x.unsqueeze(1)], 1)
        if x.shape[0] > 1:  # control flow that is followed, and not in the model
            x = x * 0
        self.step += 1
        scores = self.net(self.frames.flatten(1)) * scale + self.pace(torch.clamp(self.step, max=3))
        return scores, scores.argmax(1)


class Plain(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(11, 6)
        self.head = torch.nn.Linear(6, 3)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.head(self.table(words).mean(1)), -1)


def scripted(folder: Path, module: torch.nn.Module, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5)
    path = folder / f"{type(module).__name__.lower()}.pt"
    torch.jit.script(module.eval()).save(str(path))
    return path


def build(path: Path, shapes: str, **choices):
    return compiler.build(path, out=path.parent / "out", trust=True, example_shapes=shapes, **choices)


def check_steps(path: Path, predictor, size: int, steps: int) -> None:
    module, episode, state = torch.jit.load(str(path)).eval(), predictor.Episode(), None
    rng = np.random.default_rng(1)
    for step in range(steps):
        observation = rng.normal(size=(1, size)).astype(np.float32)
        with torch.no_grad():
            expected = module(torch.tensor(observation)).numpy()
        found, state = predictor.predict(observation, state)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=f"step {step}")
        np.testing.assert_array_equal(episode.predict(observation), found)


@pytest.mark.slow
def test_buffers_that_are_overwritten_are_states(tmp_path):
    path = scripted(tmp_path, Walker())
    built = build(path, "1,7")
    predictor = built.load()
    check_steps(path, predictor, 7, STEPS)
    assert predictor.SPEC["states"] == [
        {"name": "hidden_state", "shape": (1, 1, 16), "dtype": "float32"},
        {"name": "cell_state", "shape": (1, 1, 16), "dtype": "float32"},
    ]
    episode = predictor.Episode()
    first = episode.predict(np.ones((1, 7), np.float32))
    assert np.ptp([first, episode.predict(np.ones((1, 7), np.float32))], axis=0).max() > 1e-4
    episode.reset()
    np.testing.assert_array_equal(episode.predict(np.ones((1, 7), np.float32)), first)
    wrong = (np.zeros(16, np.float32), np.zeros((1, 1, 16), np.float32))
    with pytest.raises(ValueError, match="hidden_state: expected shape"):
        predictor.predict(np.ones((1, 7), np.float32), wrong)
    check_states_of_episodes(predictor, np.ones((1, 7), np.float32), wrong)


def check_states_of_episodes(predictor, observation, wrong) -> None:
    """
    The state of an episode is the caller's: it may be kept, looked at later and given back.
    """
    episode = predictor.Episode()
    episode.predict(observation)
    kept = episode.state
    before = [array.copy() for array in kept]
    second = episode.predict(observation)
    third = episode.predict(observation.tolist())
    np.testing.assert_array_equal(predictor.predict(observation, kept)[0], second)
    for array, expected, state in zip(kept, before, predictor.SPEC["states"], strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.shape == state["shape"]
    episode.state = kept
    with pytest.raises(ValueError, match="NaN"):
        episode.predict(np.full_like(observation, np.nan))
    with pytest.raises(ValueError, match="expected shape"):
        episode.state = wrong
    np.testing.assert_array_equal(episode.predict(observation), second)
    np.testing.assert_array_equal(episode.predict(observation), third)
    for array, expected in zip(kept, before, strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.slow
def test_a_history_of_frames_and_several_outputs(tmp_path):
    path = scripted(tmp_path, History())
    predictor = build(path, "1,5;1").load()
    module, episode = torch.jit.load(str(path)).eval(), predictor.Episode()
    rng = np.random.default_rng(2)
    for _ in range(12):
        observation, scale = rng.normal(size=(1, 5)).astype(np.float32), np.array([2.5], np.float32)
        with torch.no_grad():
            scores, action = module(torch.tensor(observation), torch.tensor(scale))
        found = episode.predict(observation, scale)
        np.testing.assert_allclose(found.output_0, scores.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found.output_1, action.numpy())
        assert found.output_1.dtype == np.int64


def test_an_archive_without_states(tmp_path):
    path = scripted(tmp_path, Plain())
    model = compiler.load_model(path, trust=True, example_shapes="1,4:int64")
    words = np.random.default_rng(0).integers(0, 11, (5, 1, 4))
    found = evaluate(model, {model.inputs[0]: words})[model.outputs[0].tensor]
    with torch.no_grad():
        expected = torch.jit.load(str(path))(torch.tensor(words[:, 0]))
    np.testing.assert_allclose(found[:, 0], expected.numpy(), rtol=1e-5, atol=1e-6)
    assert not model.batched
    assert model.states == ()
    assert model.origin.format == "torch-script"


class Bright(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(12, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(image.flatten(1).float() / 255)


def test_an_archive_of_images(tmp_path):
    path = scripted(tmp_path, Bright())
    model = compiler.load_model(path, trust=True, example_shapes="1,3,2,2:uint8")
    assert model.tensors[model.inputs[0]].dtype == "uint8"
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 3, 2, 2)).astype(np.uint8)
    found = evaluate(model, {model.inputs[0]: images})[model.outputs[0].tensor]
    with torch.no_grad():
        expected = torch.jit.load(str(path))(torch.tensor(images[:, 0]))
    np.testing.assert_allclose(found[:, 0], expected.numpy(), rtol=1e-4, atol=1e-5)


class Traced(torch.nn.Module):  # type: ignore[misc]
    """
    What tracing makes tensors of: sizes that are computed with. And what it records by names of its own.
    """

    bins: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.filters = torch.nn.Sequential(torch.nn.Conv1d(6, 4, 3), torch.nn.ELU(), torch.nn.Flatten())
        self.head = torch.nn.Linear(12, 5)
        self.register_buffer("bins", torch.linspace(-1, 1, 5))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = x.shape[1] // 2
        x = torch.nan_to_num(x.view(x.shape[0], half, 2, -1)).reshape(x.shape[0], x.shape[1], -1)
        scores = self.head(self.filters(x))[:, : (self.head.out_features + x.shape[-1]) // 2]
        best = scores.argmax(-1)
        return torch.nn.functional.one_hot(best, 5) * scores, self.bins[best]


def test_a_traced_archive_computes_with_its_sizes(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "traced.pt"
    torch.jit.trace(Traced().eval(), torch.zeros(1, 6, 5), check_trace=False).save(str(path))
    model = compiler.load_model(path, trust=True, example_shapes="1,6,5")
    x = np.random.default_rng(0).normal(size=(7, 1, 6, 5)).astype(np.float32)
    values = evaluate(model, {model.inputs[0]: x})
    module = torch.jit.load(str(path))
    for row, given in enumerate(x):
        for output, expected in zip(model.outputs, module(torch.tensor(given)), strict=True):
            np.testing.assert_allclose(values[output.tensor][row], expected.detach(), rtol=1e-4, atol=1e-5)


class Branching(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):
            return x + 1
        return x - 1


def test_a_branch_on_data_is_refused(tmp_path):
    with pytest.raises(UnsupportedError, match=r"depends on its inputs.*torch\.where"):
        compiler.load_model(scripted(tmp_path, Branching()), trust=True, example_shapes="1,4")


class Clocked(torch.nn.Module):  # type: ignore[misc]
    """
    A clock of whole numbers, a flag, and a ring of frames whose place is such a number.
    """

    step: torch.Tensor
    started: torch.Tensor
    ring: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(8, 2)
        self.register_buffer("step", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("ring", torch.zeros(2, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.ring[self.step % 2] = x
        found = self.head(self.ring[(torch.arange(2) + self.step) % 2].reshape(1, 8))
        found = torch.where(self.started, found * torch.sin(self.step * 0.3), found)
        self.step += 1
        self.started = self.started | (self.step > 2).any()
        return found


def test_counters_and_flags_are_states_of_an_archive(tmp_path):
    path = scripted(tmp_path, Clocked())
    model = compiler.load_model(path, trust=True, example_shapes="1,4")
    assert {state.name for state in model.states} == {"step", "started", "ring"}
    states = {state.input: np.asarray(model.tensors[state.initial].data)[None] for state in model.states}
    module, random = torch.jit.load(str(path)), np.random.default_rng(0)
    for _ in range(6):
        x = random.normal(size=(1, 4)).astype(np.float32)
        values = evaluate(model, {model.inputs[0]: x[None], **states})
        expected = module(torch.tensor(x)).detach()
        np.testing.assert_allclose(values[model.outputs[0].tensor][0], expected, rtol=1e-4, atol=1e-5)
        states = {state.input: values[state.output].astype(np.float32) for state in model.states}


def test_reading_leaves_the_file_s_own_state(tmp_path):
    model = compiler.load_model(scripted(tmp_path, Walker()), trust=True, example_shapes="1,7")
    initial = {state.name: model.tensors[state.initial].data for state in model.states}
    np.testing.assert_array_equal(initial["hidden_state"], np.zeros((1, 1, 16)))
    np.testing.assert_array_equal(initial["cell_state"], np.full((1, 1, 16), 0.25))


def test_what_is_missing_is_said_at_once(tmp_path):
    path = scripted(tmp_path, Plain())
    with pytest.raises(UnsupportedError) as refused:
        compiler.load_model(path)
    assert "pass --trust" in str(refused.value)
    assert "--example-shapes 1,41" in str(refused.value)


@pytest.mark.parametrize("shapes", ["", "1,x", "1,0", "1,4:float64", "1,4;"])
def test_shapes_that_are_none(tmp_path, shapes):
    path = scripted(tmp_path, Plain())
    with pytest.raises((BuildError, UnsupportedError), match=r"example.shapes"):
        compiler.load_model(path, trust=True, example_shapes=shapes)


def test_shapes_that_the_module_does_not_take(tmp_path):
    path = scripted(tmp_path, Walker())
    with pytest.raises(UnsupportedError, match="does not take inputs of these shapes"):
        compiler.load_model(path, trust=True, example_shapes="1,8")


def test_a_damaged_archive(tmp_path):
    path = scripted(tmp_path, Walker())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(b"def forward", b"fed forward"))
    with pytest.raises(CheckpointError):
        compiler.load_model(path, trust=True, example_shapes="1,7")


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="POLICYC_TORCHSCRIPT names no folder of robots' policies")
def test_a_real_robot_s_policy(tmp_path):
    path = Path(REAL) / "unitree_h1_motion.pt"
    predictor = compiler.build(path, out=tmp_path, trust=True, example_shapes="1,41").load()
    check_steps(path, predictor, 41, STEPS)


def test_inputs_are_called_as_forward_calls_them(tmp_path):
    model = compiler.load_model(scripted(tmp_path, History()), trust=True, example_shapes="1,5;1")
    assert model.inputs == ("x", "scale")
    assert [model.tensors[name].name for name in model.inputs] == ["x", "scale"]
    assert {"x", "scale"} <= {name for node in model.nodes for name in node.inputs}
