"""
Exported programs of many architectures: the reference of the model gives what torch gives, for batches of any size.
"""

import zlib

import numpy as np
import pytest
import torch
from torch import nn

from compiler.check import check
from compiler.errors import UnsupportedError
from compiler.frontends.torch_export.modules import exported
from compiler.frontends.torch_export.program import translate
from compiler.frontends.torch_export.running import asking
from compiler.ir import DType, Model, Origin
from compiler.ops import Array
from compiler.ops.indices import whole_numbers
from compiler.ops.reference import evaluate
from tests.frontends.torch_modules import ARCHITECTURES
from tests.frontends.torch_modules_more import MORE

RELATIVE, ABSOLUTE = 1e-4, 1e-5
BATCHES = (1, 2, 5)
ORIGIN = Origin("module", "", "torch-module")


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """
    The module with random parameters, biases and statistics among them.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module


def random_inputs(model: Model, examples: tuple[torch.Tensor, ...], count: int) -> list[Array]:
    """
    As many samples of every input; integers within those of the example.
    """
    random = np.random.default_rng(count)
    found: list[Array] = []
    for example in examples:
        dims = (count, *(example.shape[1:] if model.batched else example.shape))
        if example.is_floating_point():
            found.append(random.standard_normal(dims, dtype=np.float32))
        elif example.dtype == torch.bool:
            found.append(random.random(dims) < 0.7)
        else:
            found.append(random.integers(0, int(example.max()) + 1, dims))
    return found


def compare(module: nn.Module, examples: tuple[torch.Tensor, ...], *, dynamic: bool = True) -> Model:
    """
    Compares the reference of a module's model with torch eager, at several sizes of the batch.
    """
    program = exported(module, examples, dynamic=dynamic)
    model = check(translate(program, "module", ORIGIN), "module")
    assert model.batched == dynamic
    ask = asking(program, "module")
    for count in BATCHES:
        inputs = random_inputs(model, examples, count)
        values = evaluate(model, dict(zip(model.inputs, inputs, strict=True)))
        expected = ask(inputs)
        assert len(expected) == len(model.outputs)
        for output, wanted in zip(model.outputs, expected, strict=True):
            found = values[output.tensor]
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, RELATIVE, ABSOLUTE, err_msg=f"{output.name}, {count} samples")
    return model


@pytest.mark.parametrize("name", [*ARCHITECTURES, *MORE])
def test_the_reference_gives_what_torch_gives(name):
    seed = zlib.crc32(name.encode())
    torch.manual_seed(seed)
    module, examples = (ARCHITECTURES | MORE)[name]()
    compare(randomised(module, seed), examples)


@pytest.mark.parametrize("name", ["resnet", "lstm_deep", "bert"])
def test_a_program_of_fixed_sizes_takes_one_sample_at_a_time(name):
    module, examples = ARCHITECTURES[name]()
    model = compare(randomised(module, 0), examples, dynamic=False)
    assert model.tensors[model.inputs[0]].fixed_shape == tuple(examples[0].shape)


class Remembering(nn.Module):  # type: ignore[misc]
    """
    A policy that keeps its hidden state and the last observations in buffers, as robots' policies do.
    """

    hidden: torch.Tensor
    history: torch.Tensor
    untouched: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(6, 4), nn.Linear(4 + 18, 2)
        self.register_buffer("hidden", torch.zeros(1, 4))
        self.register_buffer("history", torch.ones(3, 6), persistent=False)
        self.register_buffer("untouched", torch.full((2,), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.history[:-1] = self.history[1:].clone()
        self.history[-1] = x[0]
        self.hidden.copy_(self.cell(x, self.hidden))
        both = torch.cat((self.hidden, self.history.reshape(1, -1)), dim=1)
        return self.head(both) * self.untouched


def test_buffers_that_are_written_are_states():
    program = exported(randomised(Remembering(), 0), (torch.zeros(1, 6),), dynamic=False)
    model = check(translate(program, "module", ORIGIN), "module")
    assert {state.name for state in model.states} == {"hidden", "history"}
    assert model.inputs == ("x",)
    ask = asking(program, "module", [state.name for state in model.states])
    random = np.random.default_rng(0)
    given = {"x": random.standard_normal((3, 1, 6), np.float32)}
    for state in model.states:
        initial = np.asarray(model.tensors[state.initial].data)
        np.testing.assert_array_equal(initial, np.zeros((1, 4)) if state.name == "hidden" else np.ones((3, 6)))
        given[state.input] = random.standard_normal((3, *initial.shape), np.float32)
    values = evaluate(model, given)
    expected = ask(list(given.values()))
    results = [model.outputs[0].tensor, *(state.output for state in model.states)]
    for name, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(values[name], wanted, RELATIVE, ABSOLUTE)


class Counted(nn.Module):  # type: ignore[misc]
    """
    What robots' policies count and flag: a clock, an action that is held for some steps, a ring of frames.
    """

    step: torch.Tensor
    started: torch.Tensor
    held: torch.Tensor
    ring: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6 + 3 * 4, 2)
        self.register_buffer("step", torch.tensor(2))
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("held", torch.zeros(1, 2, dtype=torch.float64))
        self.register_buffer("ring", torch.zeros(3, 4))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        place = (self.step % 3).reshape(1)
        self.ring.index_copy_(0, place, input[:, :4])
        clock = torch.stack((torch.sin(self.step * 0.1), self.step.float())).reshape(1, 2)
        seen = self.ring[(torch.arange(3) + place) % 3].reshape(1, -1)
        action = self.head(torch.cat((input[:, 2:], clock, seen), 1))
        self.held = torch.where((self.step % 4 == 0) | ~self.started, action.double(), self.held)
        self.step += 1
        self.started = torch.ones_like(self.started)
        return self.held.float()


def test_counters_and_flags_are_states_of_float32():
    module = randomised(Counted(), 0)
    program = exported(module, (torch.zeros(1, 6),), dynamic=False)
    model = check(translate(program, "module", ORIGIN), "module")
    assert {state.name for state in model.states} == {"step", "started", "held", "ring"}
    states = {state.input: np.asarray(model.tensors[state.initial].data)[None] for state in model.states}
    assert {value.dtype for value in states.values()} == {np.dtype(np.float32)}
    random = np.random.default_rng(0)
    for _ in range(9):
        x = random.standard_normal((1, 6), np.float32)
        values = evaluate(model, {"input": x[None], **states})
        np.testing.assert_allclose(values[model.outputs[0].tensor][0], module(torch.tensor(x)).detach(), 1e-4, 1e-5)
        states = {state.input: values[state.output].astype(np.float32) for state in model.states}
    assert sorted(value.item() for value in states.values() if value.size == 1) == [1.0, 11.0]


def test_a_counter_that_begins_too_large_is_refused():
    module = Counted()
    module.step.fill_(2**24 + 1)
    with pytest.raises(UnsupportedError, match="begins beyond 16,777,216"):
        translate(exported(module, (torch.zeros(1, 6),), dynamic=False), "module", ORIGIN)


class Seeing(nn.Module):  # type: ignore[misc]
    """
    A camera's image and a letter, both bytes, which wrap around where torch lets them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.filters, self.table = nn.Conv2d(3, 4, 3), nn.Embedding(256, 4)

    def forward(self, image: torch.Tensor, input: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen = self.filters(image.float() / 255).amax((2, 3))
        row, column = self.table.weight[input.long()], self.table.weight[:200, 0][input.long()]
        return seen * self.table(input.long()), image + 200, input > 100, input, row.sum(-1) + column


@pytest.mark.parametrize("dynamic", [True, False])
def test_bytes_are_inputs_of_their_own(dynamic):
    examples = torch.full((2, 3, 5, 5), 255, dtype=torch.uint8), torch.full((2,), 199, dtype=torch.uint8)
    model = compare(randomised(Seeing(), 0), examples, dynamic=dynamic)
    assert [model.tensors[name].dtype for name in model.inputs] == [DType.UINT8, DType.UINT8]
    read = {name for node in model.nodes if node.op != "cast" for name in node.inputs}
    assert read.isdisjoint(model.inputs)
    assert [whole_numbers(model, name) for name in model.inputs] == [(0, 255), (0, 199)]


def test_half_precision_is_computed_in_float32():
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(torch.bfloat16)
    compare(module, (torch.zeros(2, 4, dtype=torch.bfloat16),))


def test_asking_leaves_the_module_as_it_was():
    module = randomised(Remembering(), 0)
    program = exported(module, (torch.zeros(1, 6),), dynamic=False)
    before = {name: value.clone() for name, value in module.named_buffers()}
    ask = asking(program, "module", ["hidden", "history"])
    first = ask([np.ones((1, 1, 6), np.float32), np.ones((1, 1, 4), np.float32), np.ones((1, 3, 6), np.float32)])
    assert not np.array_equal(first[1], np.ones((1, 1, 4)))
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())
