"""
Files of PyTorch: .pt2 programs, state dicts with the code of their module, and what is refused in them.
"""

import contextlib
import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tests.frontends.test_torch_export as comparison
from compiler import frontends
from compiler.check import check
from compiler.errors import BuildError, CheckpointError, PolicycError, UnsupportedError
from compiler.frontends.torch_export import from_module
from compiler.frontends.torch_export.modules import exported
from compiler.frontends.torch_export.quiet import quietly
from compiler.ops.reference import evaluate
from compiler.options import BuildOptions
from compiler.readers.safetensors import read_safetensors
from tests.frontends.torch_modules import ARCHITECTURES

Edit = Callable[[dict[str, Any]], Any]
FACTORY = """
import torch
from torch import nn

def factory():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), (torch.zeros(1, 4),)

def without_examples():
    return nn.Linear(4, 5)

class Known(nn.Linear):
    example_inputs = (torch.zeros(1, 4),)

def known():
    return Known(4, 5)

def broken():
    raise RuntimeError("no such robot")
"""


class Large(nn.Module):  # type: ignore[misc]
    """
    What takes a terabyte to compute, and little to describe.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.ones(1).expand(1 << 38).sum()


def saved(folder: Path, name: str, *, dynamic: bool = True) -> Path:
    """
    An architecture as torch.export.save writes it.
    """
    module, examples = ARCHITECTURES[name]()
    path = folder / f"{name}.pt2"
    with quietly():
        torch.export.save(exported(comparison.randomised(module, 1), examples, dynamic=dynamic), path)
    return path


def changed(path: Path, edit: Edit) -> Path:
    """
    The file with its description of the program changed.
    """
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("models/model.json"):
                program = json.loads(content)
                edit(program)
                content = json.dumps(program).encode()
            target.writestr(name, content)
    path.write_bytes(copy.getvalue())
    return path


@pytest.mark.parametrize("name", ["mlp", "resnet", "lstm_deep", "bert", "decoder"])
def test_a_file_gives_what_torch_gives(tmp_path, name):
    path = saved(tmp_path, name)
    model, ask = frontends.read_with_source(path, BuildOptions())
    assert ask is not None
    check(model, name)
    assert (model.origin.format, model.origin.file) == ("torch-export", f"{name}.pt2")
    assert dict(model.origin.versions) == {"torch": torch.__version__}
    for count in (1, 3):
        inputs = comparison.random_inputs(model, ARCHITECTURES[name]()[1], count)
        values = evaluate(model, dict(zip(model.inputs, inputs, strict=True)))
        for output, wanted in zip(model.outputs, ask(inputs), strict=True):
            np.testing.assert_allclose(values[output.tensor], wanted, comparison.RELATIVE, comparison.ABSOLUTE)


def test_reading_a_file_twice_gives_the_same_model(tmp_path):
    path = saved(tmp_path, "vision")
    first, second = (frontends.read(path, BuildOptions()) for _ in range(2))
    assert str(first) == str(second)
    assert first.tensors == second.tensors


def test_a_file_of_the_core_ops_gives_the_same(tmp_path):
    module, examples = ARCHITECTURES["resnet"]()
    with quietly():
        core = exported(comparison.randomised(module, 1), examples).run_decompositions()
        torch.export.save(core, tmp_path / "core.pt2")
    model, ask = frontends.read_with_source(tmp_path / "core.pt2", BuildOptions())
    assert ask is not None
    inputs = comparison.random_inputs(model, examples, 2)
    found = evaluate(model, dict(zip(model.inputs, inputs, strict=True)))[model.outputs[0].tensor]
    np.testing.assert_allclose(found, ask(inputs)[0], comparison.RELATIVE, comparison.ABSOLUTE)


def _first_target(text: str) -> Edit:
    return lambda program: program["graph_module"]["graph"]["nodes"][0].update(target=text)


def _first_name(program: dict[str, Any]) -> None:
    program["graph_module"]["graph"]["nodes"][0]["name"] = "x = __import__('os')\n"


def _guard(program: dict[str, Any]) -> None:
    program["guards_code"] = ["__import__('pathlib').Path('GUARD').touch()"]


def _expression(program: dict[str, Any]) -> None:
    values = program["graph_module"]["graph"]["tensor_values"]
    (name, *_) = values
    values[name]["sizes"][0] = {"as_expr": {"expr_str": "__import__('os').getpid()", "hint": {"as_int": 3}}}


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (_first_target("torch.os.system"), "torch.os.system"),
        (_first_target("torch.ops.aten.from_file.default"), "from_file"),
        (_first_target("#namespace:op"), "#namespace"),
        (_first_name, "__import__"),
        (_expression, "getpid"),
    ],
)
def test_what_torch_would_execute_is_refused(tmp_path, edit, text):
    path = changed(saved(tmp_path, "mlp"), edit)
    with pytest.raises(UnsupportedError, match="--trust") as caught:
        frontends.read(path, BuildOptions())
    assert text in str(caught.value)


def test_guards_of_a_file_are_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, ask = frontends.read_with_source(changed(saved(tmp_path, "mlp"), _guard), BuildOptions())
    assert ask is not None
    ask([np.zeros((2, 6), np.float32)])
    assert not (tmp_path / "GUARD").exists()
    assert model.inputs == ("input",)


def test_example_inputs_are_never_unpickled(tmp_path):
    path, copy = saved(tmp_path, "mlp"), io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in source.namelist():
            target.writestr(name, b"cos\nabort\n(tR." if "sample_inputs" in name else source.read(name))
    path.write_bytes(copy.getvalue())
    assert frontends.read(path, BuildOptions()).outputs


def test_a_damaged_file_is_refused(tmp_path):
    path = changed(saved(tmp_path, "mlp"), lambda program: program.pop("graph_module"))
    with pytest.raises(CheckpointError, match="can't load it"):
        frontends.read(path, BuildOptions())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError):
        frontends.read(path, BuildOptions())


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """
    A folder with a module of factories, where the command is given.
    """
    (tmp_path / "robots_of_the_test.py").write_text(FACTORY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield "robots_of_the_test"
    sys.modules.pop("robots_of_the_test", None)


def _safetensors(tensors: dict[str, torch.Tensor]) -> bytes:
    """
    A .safetensors file, written as its format says.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, tensor in tensors.items():
        content = tensor.contiguous().numpy().tobytes()
        offsets = [len(body), len(body) + len(content)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        body += content
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_state_dict_in_its_module(tmp_path, factory, ending):
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    path = tmp_path / f"weights.{ending}"
    if ending == "pth":
        torch.save(module.state_dict(), path)
    else:
        path.write_bytes(_safetensors(module.state_dict()))
    options = BuildOptions(module=f"{factory}:factory", trust=True)
    model, ask = frontends.read_with_source(path, options)
    assert (model.origin.format, model.origin.file) == ("torch-state-dict", path.name)
    assert ask is not None
    x = torch.randn(3, 4)
    wanted = module(x).detach().numpy()
    np.testing.assert_allclose(ask([x.numpy()])[0], wanted, 1e-6, 1e-6)
    found = evaluate(model, {model.inputs[0]: x.numpy()})[model.outputs[0].tensor]
    np.testing.assert_allclose(found, wanted, comparison.RELATIVE, comparison.ABSOLUTE)


def test_tensors_that_are_not_the_modules_are_refused(tmp_path, factory):
    path = tmp_path / "weights.pth"
    torch.save({"0.weight": torch.zeros(4, 4), "0.bias": torch.zeros(5), "9.bias": torch.zeros(5)}, path)
    with pytest.raises(CheckpointError) as caught:
        frontends.read(path, BuildOptions(module=f"{factory}:factory", trust=True))
    texts = "\n".join(caught.value.findings)
    assert "lacks '2.weight', '2.bias'" in texts
    assert "holds '9.bias'" in texts
    assert "'0.weight' has shape (4, 4), the module's (5, 4)" in texts


@pytest.mark.parametrize(
    ("name", "trust", "text"),
    [
        ("robots_of_the_test:factory", False, "--trust"),
        ("robots_of_the_test", True, "package.module:factory"),
        ("robots_of_the_test:nothing", True, "nothing"),
        ("no_such_package_at_all:factory", True, "no_such_package_at_all"),
        ("robots_of_the_test:broken", True, "no such robot"),
        ("robots_of_the_test:without_examples", True, "example inputs"),
        ("json:JSONDecoder", True, "must give a torch.nn.Module"),
    ],
)
def test_a_factory_that_makes_no_module_is_refused(tmp_path, factory, name, trust, text):
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(4, 5).state_dict(), path)
    with pytest.raises(BuildError, match=text):
        frontends.read(path, BuildOptions(module=name, trust=trust))


def test_examples_can_be_an_attribute_of_the_module(tmp_path, factory):
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(4, 5).state_dict(), path)
    assert frontends.read(path, BuildOptions(module=f"{factory}:known", trust=True)).batched


def test_safetensors_without_a_module_says_what_to_do(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(_safetensors(nn.Linear(4, 5).state_dict()))
    with pytest.raises(UnsupportedError, match="--module"):
        frontends.read(path, BuildOptions())


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]},
        {"shape": [2], "data_offsets": [0, 8]},
        [],
    ],
)
def test_safetensors_that_contradict_themselves_are_refused(entry):
    text = json.dumps({"a": entry}).encode()
    with pytest.raises(CheckpointError):
        read_safetensors(memoryview(len(text).to_bytes(8, "little") + text + bytes(8)), "x")


def test_a_live_module_is_left_as_it_was():
    module = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5))
    module[0].eval()
    read = from_module(module, (torch.zeros(1, 4),), name="live")
    assert [part.training for part in module.modules()] == [True, False, True]
    assert read.model.batched
    assert read.model.origin.format == "torch-module"
    again = from_module(module, (torch.zeros(3, 4),), name="live")
    assert again.model.origin == read.model.origin


def test_without_torch_a_program_says_so(tmp_path, monkeypatch):
    path = saved(tmp_path, "mlp")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UnsupportedError, match="pip install torch"):
        frontends.read(path, BuildOptions())


def test_a_constant_larger_than_memory_is_never_made(tmp_path):
    with quietly():
        program = torch.export.export(Large(), (torch.zeros(2, 4),))
        torch.export.save(program, tmp_path / "large.pt2")
    with pytest.raises(UnsupportedError, match="makes a constant"):
        frontends.read(tmp_path / "large.pt2", BuildOptions())


def _mutated(program: dict[str, Any], random: Random) -> None:
    """
    Something else in one place of a description.
    """
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [program]
    while waiting:
        found = waiting.pop()
        items = list(found.items() if isinstance(found, dict) else enumerate(found))
        places += [(found, key) for key, _ in items]
        waiting += [value for _, value in items if isinstance(value, dict | list)]
    holder, key = random.choice(places)
    value = holder[key]
    others: list[Any] = [None, [], {}, 0, -1, 1 << 40, "", "x", True, 1.5]
    holder[key] = random.choice([other for other in others if type(other) is type(value)] or others)


@pytest.mark.parametrize("seed", range(12))
def test_a_description_that_contradicts_itself_is_refused_or_compiled(tmp_path, seed):
    random = Random(seed)

    def edit(program: dict[str, Any]) -> None:
        for _ in range(3):
            _mutated(program, random)

    path = changed(saved(tmp_path, "dueling"), edit)
    with contextlib.suppress(PolicycError):
        check(frontends.read(path, BuildOptions()), "module")
