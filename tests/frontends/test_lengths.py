"""
Sources whose sequences have a dynamic length: what is said of it, what is made of it, and what is refused.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim
from torch.nn import functional

import compiler
from compiler.check import check
from compiler.errors import BuildError, PolicycError, UnsupportedError, VerificationError
from compiler.frontends.lengths import bounded
from compiler.frontends.torch_export import from_module
from compiler.ir import Length, Model
from compiler.ops.lengths import at_length, length_of
from compiler.ops.reference import evaluate
from tests.thorough import THOROUGH, chosen

LENGTH = Dim("length", min=1, max=24)
BOTH = {0: "batch", 1: LENGTH}


class Recurrent(nn.Module):  # type: ignore[misc]
    def __init__(self, kind: str, *, both: bool = False, layers: int = 1) -> None:
        super().__init__()
        self.words = nn.Embedding(21, 12)
        self.memory = getattr(nn, kind)(12, 20, batch_first=True, bidirectional=both, num_layers=layers)
        self.head = nn.Linear(40 if both else 20, 3)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.head(self.memory(self.words(words))[0][:, -1]), -1)


class Tagger(Recurrent):
    """
    A label for each word, and what the sentence ends with.
    """

    def forward(self, words: torch.Tensor) -> Any:
        outputs, last = self.memory(self.words(words))
        return self.head(outputs), last[-1]


class Averaged(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(21, 12), nn.Linear(12, 3)

    def forward(self, words: torch.Tensor, left_out: torch.Tensor) -> torch.Tensor:
        kept = 1 - left_out.float()[:, :, None]
        return self.head((self.words(words) * kept).sum(1) / kept.sum(1).clamp(min=1))


class Convolved(nn.Module):  # type: ignore[misc]
    """
    Kim's classifier of sentences: the largest of each filter over time.
    """

    def __init__(self, *, padded: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(21, 12)
        self.filters = nn.ModuleList([nn.Conv1d(12, 10, size, padding=size // 2 * padded) for size in (2, 3, 5)])
        self.head = nn.Linear(30, 3)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.words(words).transpose(1, 2)
        found = [functional.relu(convolution(x)) for convolution in self.filters]
        return self.head(torch.cat([functional.max_pool1d(each, each.shape[2]).squeeze(2) for each in found], 1))


class Windowed(Convolved):
    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.words(words).transpose(1, 2)
        return self.head(torch.cat([convolution(x).amax(2) for convolution in self.filters], 1))


class Encoder(nn.Module):  # type: ignore[misc]
    """
    A transformer with learned positions and a token in front of all others.
    """

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.words, self.first = nn.Embedding(21, 16), nn.Parameter(torch.randn(1, 1, 16))
        self.places, self.causal = nn.Parameter(torch.randn(40, 16)), causal
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, words: torch.Tensor, left_out: torch.Tensor | None = None) -> torch.Tensor:
        x = torch.cat([self.first.expand(words.shape[0], -1, -1), self.words(words)], 1)
        x = x + self.places[: x.shape[1]]
        size = x.shape[1]
        later = torch.triu(torch.full((size, size), float("-inf")), 1) if self.causal else None
        if left_out is not None:
            left_out = functional.pad(left_out, (1, 0), value=False)
        return self.head(self.layers(x, mask=later, src_key_padding_mask=left_out, is_causal=self.causal)[:, 0])


class Signal(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(6, 12, 5, padding=2), nn.BatchNorm1d(12), nn.ReLU(), nn.Conv1d(12, 4, 3, padding=4, dilation=4)
        )

    def forward(self, x: torch.Tensor) -> Any:
        y = self.layers(x.transpose(1, 2))
        return y, functional.adaptive_avg_pool1d(y, 1), y.flip(2), torch.cumsum(y, 2), y[..., 1:] - y[..., :-1]


class Counted(nn.Module):  # type: ignore[misc]
    """
    Statistics of a sequence, for which its steps are counted, in as many ways as numbers are computed of them.
    """

    def forward(self, x: torch.Tensor) -> Any:
        steps = x.shape[1]
        total = x.sum(1)
        means = total / steps, total * (1 / steps), total / (2 * steps + 1), total / steps**0.5, total * (steps - 1)
        unbiased = x.std(1), x.var(1, keepdim=True), x.var((1, 2))
        last = x[:, [-1]], x[:, [0, 1]]
        return (
            *last,
            *means,
            *unbiased,
            (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True, unbiased=False) + 1e-5),
        )


class Normed(nn.Module):  # type: ignore[misc]
    """
    Normalisation along the sequence, and windows that move by one step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mixed = nn.Conv1d(6, 8, 3, padding=1)
        self.groups, self.each = nn.GroupNorm(2, 8), nn.InstanceNorm1d(8, affine=True)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.mixed(x.transpose(1, 2))
        windows = (
            functional.max_pool1d(y - 10, 3, stride=1, padding=1),
            functional.max_pool1d(y, 2, stride=1, dilation=2),
            functional.avg_pool1d(y, 3, stride=1, padding=1),
            functional.max_pool2d(y[:, None], 3, stride=1, padding=1),
        )
        return (self.groups(y), self.each(y).mean(2), *windows)


WORDS = (torch.zeros(2, 9, dtype=torch.int64),)
MASKED = (*WORDS, torch.zeros(2, 9, dtype=torch.bool))
KINDS = {
    "lstm": (lambda: Recurrent("LSTM"), WORDS, 1),
    "gru": (lambda: Recurrent("GRU", both=True), WORDS, 1),
    "rnn": (lambda: Recurrent("RNN", layers=2), WORDS, 1),
    "tagger": (lambda: Tagger("GRU", both=True), WORDS, 1),
    "averaged": (Averaged, MASKED, 1),
    "convolved": (lambda: Convolved(padded=False), WORDS, 5),
    "padded": (lambda: Convolved(padded=True), WORDS, 1),
    "encoder": (Encoder, MASKED, 1),
    "causal": (lambda: Encoder(causal=True), WORDS, 1),
    "signal": (Signal, (torch.zeros(2, 9, 6),), 2),
    "counted": (Counted, (torch.zeros(2, 9, 6),), 2),
    "normed": (Normed, (torch.zeros(2, 9, 6),), 3),
}


def randomised(module: nn.Module) -> nn.Module:
    """
    The module with other weights than those of its initialisation, which are zero in places.
    """
    torch.manual_seed(1)
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randn_like(value) * 0.3 + 0.05)
    return module.eval()


def dynamic_of(name: str, least: int) -> dict[str, dict[int, Any]]:
    """
    What is dynamic of a kind: the batch, and a length up to 24.
    """
    names = ("x",) if KINDS[name][1][0].is_floating_point() else ("words", "left_out")
    dim = Dim("length", min=least, max=24)
    return {key: {0: "batch", 1: dim} for key, _ in zip(names, KINDS[name][1], strict=False)}


def read(module: nn.Module, examples: Any, dynamic: Any, **choices: Any) -> Model:
    return check(from_module(module, examples, dynamic=dynamic, **choices).model, "test")


def drawn(examples: Any, length: int) -> list[torch.Tensor]:
    found = []
    for each in examples:
        shape = (3, length, *each.shape[2:])
        if each.dtype == torch.bool:
            found.append((torch.rand(shape) > 0.6) & (torch.arange(length) > 0))
        else:
            found.append(torch.randint(0, 21, shape) if each.dtype == torch.int64 else torch.randn(shape))
    return found


@pytest.mark.parametrize(
    "name", chosen(KINDS, "lstm", "averaged", "convolved", "encoder", "signal", "counted", "normed")
)
def test_a_module_is_read_as_what_it_computes_at_each_length(name):
    made, examples, least = KINDS[name]
    module = randomised(made())
    model = read(module, examples, dynamic_of(name, least))
    assert length_of(model) == Length("length", least, 24)
    for length in (least, least + 1, 7, 24):
        given = drawn(examples, length)
        with torch.no_grad():
            expected = module(*given)
        values = evaluate(at_length(model, length), {k: g.numpy() for k, g in zip(model.inputs, given, strict=True)})
        several = expected if isinstance(expected, tuple) else (expected,)
        for output, right in zip(model.outputs, several, strict=True):
            assert values[output.tensor].shape == right.shape
            np.testing.assert_allclose(values[output.tensor], right.numpy(), rtol=1e-4, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", chosen(KINDS, "tagger"))
def test_a_predictor_answers_as_torch_at_every_length(tmp_path, name):
    made, examples, least = KINDS[name]
    module = randomised(made())
    dynamic = dynamic_of(name, least)
    build = compiler.build(
        module, out=tmp_path, name=f"any_{name}", example_inputs=examples, dynamic=dynamic, lanes=16 if THOROUGH else 4
    )
    predict = build.load().predict
    for length in range(least, 25):
        given = drawn(examples, length)
        with torch.no_grad():
            expected = module(*given)
        several = expected if isinstance(expected, tuple) else (expected,)
        found = predict(*(each.numpy() for each in given))
        for own, right in zip(found if isinstance(found, tuple) else (found,), several, strict=True):
            np.testing.assert_allclose(own, right.numpy(), rtol=1e-4, atol=2e-5)


def test_a_program_file_has_the_bounds_of_its_dim(tmp_path):
    module = randomised(Averaged())
    shapes = {"words": {0: Dim("batch"), 1: Dim("length", min=2, max=50)}}
    shapes["left_out"] = shapes["words"]
    program = torch.export.export(module, MASKED, dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "averaged.pt2")
    assert length_of(compiler.load_model(tmp_path / "averaged.pt2")) == Length("length", 2, 50)
    assert length_of(compiler.load_model(tmp_path / "averaged.pt2", longest=9)) == Length("length", 2, 9)


def test_a_program_file_without_bounds_needs_a_longest_length(tmp_path):
    shapes = {"words": {0: Dim("batch"), 1: Dim("length")}}
    shapes["left_out"] = shapes["words"]
    torch.export.save(torch.export.export(Averaged().eval(), MASKED, dynamic_shapes=shapes), tmp_path / "open.pt2")
    with pytest.raises(UnsupportedError, match=r"'length' has no largest length.*--longest"):
        compiler.load_model(tmp_path / "open.pt2")
    with pytest.raises(BuildError, match="longest must be at least 2"):
        compiler.load_model(tmp_path / "open.pt2", longest=1)
    found = length_of(compiler.load_model(tmp_path / "open.pt2", longest=30))
    assert found is not None
    assert found.most == 30


FACTORY = """
import torch

def factory():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh())
    return module, (torch.zeros(2, 9, 3),), {"input": {0: "batch", 1: "steps"}}
"""


def test_a_factory_says_what_is_dynamic(tmp_path, monkeypatch):
    (tmp_path / "made_for_lengths.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    torch.save(nn.Sequential(nn.Linear(3, 4), nn.Tanh()).state_dict(), "weights.pth")
    choices: dict[str, Any] = {"module": "made_for_lengths:factory", "trust": True}
    model = compiler.load_model("weights.pth", longest=12, **choices)
    assert model.tensors[model.inputs[0]].shape == ("batch", Length("steps", 1, 12), 3)
    with pytest.raises(UnsupportedError, match="'steps' has no largest length"):
        compiler.load_model("weights.pth", **choices)


def onnx_file(path: Path, module: nn.Module, examples: Any) -> Path:
    axes = {name: {0: "batch", 1: "steps"} for name in ("words", "left_out")[: len(examples)]}
    torch.onnx.export(
        module.eval(), examples, path, dynamo=False, input_names=list(axes), output_names=["scores"], opset_version=17,
        dynamic_axes=axes | {"scores": {0: "batch"}},
    )  # fmt: skip
    return path


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_is_read_from_the_smallest_length_that_it_can_have(tmp_path):
    path = onnx_file(tmp_path / "windowed.onnx", Windowed(padded=False), WORDS)
    assert length_of(compiler.load_model(path, longest=24)) == Length("steps", 5, 24)
    path = onnx_file(tmp_path / "lstm.onnx", Recurrent("LSTM"), WORDS)
    assert length_of(compiler.load_model(path, longest=24)) == Length("steps", 1, 24)
    with pytest.raises(UnsupportedError, match="'steps' has no largest length"):
        compiler.load_model(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_is_compared_with_its_runtime_at_several_lengths(tmp_path):
    pytest.importorskip("onnxruntime")
    path = onnx_file(tmp_path / "averaged.onnx", randomised(Averaged()), MASKED)
    build = compiler.build(path, out=tmp_path / "out", longest=20, lanes=4)
    assert build.report.verification.observations > 8


class Refused(nn.Module):  # type: ignore[misc]
    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        match self.way:
            case "joined":
                return y.reshape(y.shape[0], -1).sum(1)
            case "halved":
                return y[:, ::2].amax(1)
            case "counted":
                return y.sum(1) / y.shape[1] ** 2
            case "flattened":
                return y.reshape(y.shape[0], -1)
            case "reversed_places":
                return y + torch.arange(y.shape[1] - 1, -1, -1)[None, :, None]
            case _:
                return functional.layer_norm(y.transpose(1, 2), (y.shape[1],))


@pytest.mark.parametrize(
    ("way", "text"),
    [
        ("joined", r"attribute shape is 32, 20, 24 at the lengths 8, 5, 6: only sizes that are the length"),
        ("halved", r"a dimension of .* is 4, 3, 3 at the lengths"),
        ("counted", r"is not computed in the same way|holds other values"),
        ("flattened", r"only sizes that are the length"),
        ("reversed_places", r"holds other values"),
        ("normed", r"normalises along the length"),
    ],
)
def test_what_depends_on_the_length_in_other_ways_is_refused(way, text):
    with pytest.raises(PolicycError, match=text) as caught:
        read(Refused(way), (torch.zeros(2, 9, 4),), {"x": BOTH})
    assert "test_lengths.py:" in str(caught.value)  # the line of the module


@pytest.mark.parametrize(
    ("dynamic", "text"),
    [
        ({"nothing": BOTH}, "there is no input 'nothing'; there are words, left_out"),
        ({"words": BOTH}, "some inputs have a dynamic first dimension"),
        ({"words": BOTH, "left_out": {0: "batch", 1: Dim("other", max=24)}}, "there may be one length"),
        ({"words": {0: "batch", 2: LENGTH}, "left_out": {0: "batch"}}, "'words' has 2 dimensions"),
        ({"words": {0: "batch", 1: Dim.AUTO}, "left_out": {0: "batch"}}, "a dimension must be a name"),
        ({"words": {0: "batch", 1: 2 * Dim("half")}, "left_out": BOTH}, "is no length"),
        ({"words": {0: "batch", 1: "length"}, "left_out": {0: "batch", 1: "length"}}, "no largest length"),
        (3, "must be True, False, or say for each input"),
    ],
)
def test_what_can_not_be_dynamic_is_refused(dynamic, text):
    with pytest.raises(PolicycError, match=text):
        read(Averaged(), MASKED, dynamic)


def test_dynamic_sizes_are_given_by_name_or_in_order():
    module = Averaged()
    named = read(module, MASKED, {"words": BOTH, "left_out": BOTH})
    listed = read(module, MASKED, (("batch", LENGTH), ("batch", LENGTH)))
    plain = read(module, MASKED, [{0: "batch", 1: "length"}] * 2, longest=24)
    assert named == listed == plain
    only = read(module, MASKED, {"words": {0: "batch"}, "left_out": {0: "batch"}})
    assert length_of(only) is None
    assert only.batched


class Branching(nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1) if x.shape[1] < 10 else x.amax(1)


def test_what_computes_something_else_at_some_lengths_does_not_become_a_predictor(tmp_path):
    with pytest.raises(VerificationError, match=r"length 12: .* computes something else at some lengths"):
        compiler.build(Branching(), out=tmp_path, example_inputs=(torch.zeros(2, 9, 4),), dynamic={"x": BOTH}, lanes=4)


def test_a_size_may_be_the_length_and_a_number():
    class Longer(nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x - y[:, 1:]

    model = read(Longer(), (torch.zeros(2, 9), torch.zeros(2, 10)), {"x": BOTH, "y": {0: "batch", 1: LENGTH + 1}})
    assert str(model.tensors["y"].shape[1]) == "length+1<=25"
    assert model.tensors["y"].shape[1] == Length("length", 1, 24, 1)


def test_bounds_of_a_length():
    assert bounded("time", 1, 64, 20, "m") == Length("time", 1, 20)
    assert bounded("a name\n", 1, 64, None, "m").name == "length"
    with pytest.raises(UnsupportedError, match="one length only"):
        bounded("time", 20, 64, 20, "m")
