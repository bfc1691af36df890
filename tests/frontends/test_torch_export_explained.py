"""
What torch.export refuses, explained: the user's line, the cause and the way out.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.errors import UnsupportedError
from compiler.frontends.torch_export import from_module
from tests.frontends.test_torch_export_errors import Applied

X = torch.randn(3, 4, 6)


class Packing(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(6, 5, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.memory(packed)[1][0][0]


def refusal(module: nn.Module, *inputs: Tensor, dynamic: bool = True) -> str:
    with pytest.raises(UnsupportedError) as caught:
        from_module(module, inputs, name="robot", dynamic=dynamic)
    return str(caught.value)


@pytest.mark.parametrize("dynamic", [True, False])
def test_packed_sequences(dynamic):
    text = refusal(Packing(), X, torch.tensor([4, 2, 3]), dynamic=dynamic)
    assert text.startswith("robot: test_torch_export_explained.py:")
    assert "self.memory(packed)" in text
    assert "outputs[torch.arange(batch), lengths - 1]" in text


def test_a_branch_on_data(capsys):
    def branching(x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x - 1

    text = refusal(Applied(branching), X)
    assert "x + 1 if x.sum() > 0 else x - 1" in text
    assert "torch.where" in text
    assert capsys.readouterr() == ("", "")  # torch prints the program so far


def test_a_size_that_depends_on_data():
    text = refusal(Applied(lambda x: functional.one_hot(x.long())), X)
    assert "one_hot with num_classes" in text


def test_a_distribution_whose_checks_are_asked_for(capfd):
    text = refusal(Applied(lambda x: torch.distributions.Normal(x, 1.0, validate_args=True).log_prob(x)), X)
    assert "leave out validate_args=True" in text
    assert capfd.readouterr() == ("", "")  # torch prints the graph that it has got so far


def test_a_distribution_whose_checks_are_the_default():
    checked = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(
        True
    )  # as in a new process; torch.compile switches it off
    try:
        best = Applied(lambda x: torch.distributions.Categorical(logits=x).probs.argmax(-1))
        model = from_module(best, (X,), name="robot").model
        assert [tuple(model.tensors[output.tensor].shape) for output in model.outputs] == [("batch", 4)]
        assert torch.distributions.Distribution._validate_args is True
    finally:
        torch.distributions.Distribution.set_default_validate_args(checked)


def test_a_batch_that_is_taken_for_a_number():
    text = refusal(Applied(lambda x: x.reshape(3, 24)), X)
    assert "x.shape" in text
    assert "dynamic=False" in text


def test_whatever_else_is_raised_is_said_as_it_is():
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("the arm is not connected")

    text = refusal(Applied(broken), X)
    assert "torch.export refuses the module at test_torch_export_explained.py:" in text
    assert "the arm is not connected" in text
