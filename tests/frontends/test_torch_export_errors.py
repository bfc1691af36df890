"""
What of PyTorch's programs is refused, and what its author is told.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import tests.frontends.test_torch_export as comparison
from compiler import frontends
from compiler.errors import UnsupportedError
from compiler.frontends.torch_export import from_module
from compiler.frontends.torch_export.quiet import quietly
from compiler.ir import Model
from compiler.options import BuildOptions


class Applied(nn.Module):  # type: ignore[misc]
    """
    A function as a module.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


X = torch.randn(3, 4, 5)
OFFSETS = torch.randn(4, 5)


def read(module: nn.Module, *inputs: Tensor, dynamic: bool = True) -> Model:
    return from_module(module, inputs, name="robot", dynamic=dynamic).model


def refused(module: nn.Module, *inputs: Tensor, dynamic: bool = True) -> str:
    with pytest.raises(UnsupportedError) as caught:
        read(module, *inputs, dynamic=dynamic)
    return str(caught.value)


class Unknown(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.inner = Applied(lambda x: torch.cummax(x, dim=-1).values)

    def forward(self, x: Tensor) -> Tensor:
        return torch.logcumsumexp(self.inner(x), dim=-1) + torch.lgamma(x) + torch.lgamma(2 * x)


def test_all_ops_that_are_missing_are_named_with_their_place():
    text = refused(Unknown(), X)
    assert "aten.cummax" in text
    assert "'inner.cummax'" in text
    assert "aten.logcumsumexp.default" in text
    assert "the nearest that is: aten.logsumexp." in text
    assert "aten.lgamma.default" in text
    assert "1 more of it" in text
    assert "test_torch_export_errors.py:" in text
    assert "torch.logcumsumexp(self.inner(x), dim=-1)" in text


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - x.mean(),
        lambda x: x - x.mean(0),
        lambda x: x.sum((0, 1)),
        lambda x: x.softmax(0),
        lambda x: x.flip(0),
        lambda x: x.cumsum(0),
        lambda x: x / x.shape[0],
        lambda x: torch.cat((x, x)),
        lambda x: x[0],
        lambda x: x[1:],
        lambda x: x.flatten(1) @ x.flatten(1).T,
        lambda x: x.transpose(0, 2).softmax(-1).transpose(0, 2),
        lambda x: nn.functional.layer_norm(x.permute(1, 2, 0), (x.shape[0],)),
        lambda x: x.max(0).values,
    ],
)
def test_samples_that_meet_are_refused(function):
    assert "robot" in refused(Applied(function), X)


def test_a_sequence_of_samples_is_refused():
    module = nn.LSTM(5, 4)  # takes the first dimension for time
    assert "robot" in refused(module, X)


@pytest.mark.parametrize(
    ("function", "way"),
    [
        (lambda x: x[x > 0], "use torch.where"),
        (lambda x: x.nonzero(), "use torch.where"),
        (lambda x: x.masked_select(x > 0), "use torch.where"),
        (lambda x: x * x.max().item(), "keep it a tensor"),
    ],
)
def test_what_depends_on_the_data_is_refused(function, way):
    text = refused(Applied(function), X, dynamic=False)
    assert way in text
    assert "test_torch_export_errors.py:" in text


def test_a_number_out_of_a_constant_is_known():
    comparison.compare(Applied(lambda x: x * OFFSETS.max().item()), (X,))


@pytest.mark.parametrize("function", [lambda x: x + torch.rand_like(x), lambda x: torch.bernoulli(x.sigmoid())])
def test_what_is_random_is_refused(function):
    assert "draws at random" in refused(Applied(function), X)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(0, 1).view(4, -1, 5).transpose(0, 1),
        lambda x: x.view(-1, 5).view(4, x.shape[0], 5).sum(0),
        lambda x: x.flatten(0, 1) + x.transpose(0, 1).flatten(0, 1),
        lambda x: x.flatten(0, 1) + OFFSETS.expand(x.shape[0], -1, -1).transpose(0, 1).reshape(-1, 5),
    ],
)
def test_a_view_that_mixes_samples_is_refused(function):
    assert "takes elements of one sample for those of another" in refused(Applied(function), X)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(0, 1).relu().view(-1, 4, 5),
        lambda x: x.transpose(0, 1).flatten(0, 1).relu().view(4, -1, 5).transpose(0, 1),
        lambda x: x.transpose(0, 1).reshape(4, -1).view(4, x.shape[0], 5).sum(0),
        lambda x: x.view(-1, 2, 2, 5).permute(1, 0, 2, 3).flatten(1, 2).view(2, -1, 2, 5).transpose(0, 1),
        lambda x: x.repeat_interleave(3, dim=0).view(-1, 3, 4, 5),
        lambda x: x.repeat(3, 1, 1).view(3, -1, 4, 5).sum(0),
        lambda x: x.view(-1, 2, 2, 5).flatten(0, 1).unbind(1)[1].view(-1, 2, 5),
        lambda x: (x.flatten(0, 1) + OFFSETS.expand(x.shape[0], -1, -1).reshape(-1, 5)).view(-1, 4, 5),
        lambda x: (x.flatten(0, 1) + torch.zeros(4 * x.shape[0], 1)).view(-1, 4, 5),
    ],
)
def test_a_view_that_keeps_samples_apart_is_compiled(function):
    comparison.compare(Applied(function), (X,))


def test_a_view_may_not_take_a_batch_apart():
    assert "robot" in refused(Applied(lambda x: x.reshape(-1)), X)
    assert "first dimension must be the batch" in refused(Applied(lambda x: x.transpose(0, 1)), X)


def test_a_float64_input_is_refused():
    text = refused(nn.Linear(4, 5).double(), torch.zeros(2, 4, dtype=torch.float64))
    assert ".float()" in text


def test_an_input_without_a_batch_is_refused():
    class Scaled(nn.Module):  # type: ignore[misc]
        def forward(self, x: Tensor, factor: Tensor) -> Tensor:
            return x * factor

    text = refused(Scaled(), X, torch.tensor(2.0))
    assert "'factor'" in text
    assert "no dynamic first dimension" in text


def test_a_dynamic_length_without_a_bound_is_refused(tmp_path):
    path = tmp_path / "length.pt2"
    with quietly():
        program = torch.export.export(Applied(lambda x: 2 * x), (X,), dynamic_shapes={"x": {1: Dim("length")}})
        torch.export.save(program, path)
    with pytest.raises(UnsupportedError, match="no largest length"):
        frontends.read(path, BuildOptions())


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.5)), "module.eval"),
        (nn.BatchNorm1d(4), "module.eval"),
    ],
)
def test_a_program_of_training_is_refused(tmp_path, module, text):
    path = tmp_path / "training.pt2"
    with quietly():
        torch.export.save(torch.export.export(module.train(), (X,)), path)
    with pytest.raises(UnsupportedError, match=text):
        frontends.read(path, BuildOptions())


def test_a_buffer_that_is_written_is_refused():
    class Counting(nn.Module):  # type: ignore[misc]
        last: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("last", torch.zeros(4, 5))

        def forward(self, x: Tensor) -> Tensor:
            self.last.mul_(0.5).add_(x.sum(0))
            return x + self.last

    assert "which all samples of a batch would share" in refused(Counting(), X)
    assert [state.name for state in read(Counting(), X, dynamic=False).states] == ["last"]
    complex_one = Counting()
    complex_one.last = complex_one.last.to(torch.complex64)
    assert "complex64" in refused(complex_one, X, dynamic=False)


def test_weights_that_are_not_finite_are_refused():
    module = nn.Linear(5, 2)
    with torch.no_grad():
        module.bias[1] = torch.nan
    assert "'bias' holds NaN or infinity" in refused(module, X)
    assert from_module(module, (X,), allow_nonfinite=True).model.outputs


def test_integers_that_predictors_cannot_keep_are_refused():
    assert "16,777,216" in refused(Applied(lambda x: x.long() + torch.tensor([1 << 30] * 5)), X)


def test_what_torch_cannot_export_is_refused_with_the_way_out():
    def branching(x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x

    text = refused(Applied(branching), X)
    assert "torch.where" in text


def test_a_module_must_be_a_module():
    with pytest.raises(UnsupportedError, match=r"must be a torch\.nn\.Module, found 'function'"):
        from_module(lambda x: x, (X,))


def test_an_archive_of_several_programs_is_refused(tmp_path: Path):
    program = io.BytesIO()
    with quietly():
        exported = torch.export.export(nn.Linear(5, 2), (X,))
        torch.export.pt2_archive._package.package_pt2(
            program, exported_programs={"actor": exported, "critic": exported}
        )
    path = tmp_path / "two.pt2"
    path.write_bytes(program.getvalue())
    with pytest.raises(UnsupportedError, match="found 'actor', 'critic'"):
        frontends.read(path, BuildOptions())
