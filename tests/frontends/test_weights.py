"""
Files of weights as training leaves them, put into their module: the tensors are where torch would put them.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from compiler import frontends
from compiler.errors import BuildError, CheckpointError, PolicycError, UnsupportedError
from compiler.frontends.torch_export.states import fill, made
from compiler.options import BuildOptions
from compiler.readers.files import read_file
from compiler.readers.weights import read_weights
from tests.frontends.test_torch_export_files import _safetensors


class Tied(nn.Module):  # type: ignore[misc]
    """
    A module with one tensor under two names.
    """

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        self.out.weight = self.table.weight


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


def trained() -> dict[str, torch.Tensor]:
    return {name: torch.randn_like(value.float()).to(value.dtype) for name, value in network().state_dict().items()}


def under(prefix, tensors):
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def filled(module: nn.Module, path: Path) -> tuple[str, ...]:
    return fill(module, read_weights(read_file(path), path)[0], str(path))


TENSORS = trained()
OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(5, 4)}}, "param_groups": [{"lr": 0.1}]}
CHECKPOINTS = {
    "bare": (TENSORS, None),
    "parallel": (under("module.", TENSORS), "'module.'"),
    "compiled": (under("_orig_mod.", TENSORS), None),
    "both": (under("module._orig_mod.", TENSORS), "'module.'"),
    "a part compiled": ({name.replace("0.", "0._orig_mod."): value for name, value in TENSORS.items()}, None),
    "training": (
        {
            "epoch": 3,
            "loss": torch.zeros(()),
            "model": TENSORS,
            "optimizer": OPTIMIZER,
            "args": argparse.Namespace(a=1),
        },
        "'model'",
    ),
    "lightning": (
        {"state_dict": {**under("model.", TENSORS), "loss.weight": torch.zeros(3)}, "optimizer_states": [OPTIMIZER]},
        "'state_dict', what begins with 'model.'",
    ),
    "actor": (
        {"model": {**under("actor.", TENSORS), **under("critic.", {**TENSORS, "2.weight": torch.zeros(1, 5)})}},
        "'model', what begins with 'actor.'",
    ),
    "old": ({name: value for name, value in TENSORS.items() if "num_batches" not in name}, None),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_of_training(tmp_path, name):
    content, place = CHECKPOINTS[name]
    torch.save(content, tmp_path / "weights.pth")
    module = network()
    said = filled(module, tmp_path / "weights.pth")
    assert said == (() if place is None else (f"that the module's tensors are {place}",) if "," in place else said)
    assert place is None or place in said[0]
    for key, value in module.state_dict().items():
        if "num_batches" not in key:
            torch.testing.assert_close(value, TENSORS[key], rtol=0, atol=0)


def test_several_places_are_not_chosen_among(tmp_path):
    torch.save({"model": TENSORS, "average": dict(TENSORS)}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"may be 'model'; 'average': save those that are meant"):
        filled(network(), tmp_path / "weights.pth")


def test_the_nearest_place_is_told_of(tmp_path):
    wrong = {**under("net.", TENSORS), "net.9.bias": torch.zeros(2)}
    del wrong["net.2.bias"]
    torch.save({"epoch": 1, "model": wrong}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError) as caught:
        filled(network(), tmp_path / "weights.pth")
    assert "'model', what begins with 'net.'" in caught.value.where
    missing, spare = caught.value.findings
    assert missing == "lacks '2.bias' of the module"
    assert spare == "holds 'net.9.bias', which the module has not"


def test_tied_weights_are_there_once(tmp_path):
    table = torch.randn(6, 4)
    for name in ("table.weight", "out.weight"):
        (tmp_path / "weights.safetensors").write_bytes(_safetensors({name: table}))
        module = Tied()
        assert filled(module, tmp_path / "weights.safetensors") == ()
        torch.testing.assert_close(module.out.weight.data, table)


def sharded(folder: Path, **changed: str) -> Path:
    names = {name: f"model-{place % 2}.safetensors" for place, name in enumerate(TENSORS)}
    for shard in set(names.values()):
        held = {name: TENSORS[name].float() for name in names if names[name] == shard}
        (folder / shard).write_bytes(_safetensors(held))
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": names | changed}))
    return path


def test_shards_by_their_index(tmp_path):
    module, path = network(), sharded(tmp_path)
    digest = read_weights(read_file(path), path)[1]
    assert filled(module, path) == ()
    torch.testing.assert_close(module.state_dict()["2.weight"], TENSORS["2.weight"])
    shard = tmp_path / "model-0.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4] + bytes(4))
    assert read_weights(read_file(path), path)[1] != digest
    with pytest.raises(UnsupportedError, match="holds tensors only"):
        frontends.read(path, BuildOptions())


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"x": "../model-0.safetensors"}, "read are files in its own folder"),
        ({"x": "nothing.safetensors"}, "can't be opened"),
        ({"x": "model-0.safetensors"}, "which none has"),
        ({"x": 5}, "no index of shards"),
    ],
)
def test_an_index_that_says_what_is_not_so(tmp_path, changed, text):
    with pytest.raises(PolicycError, match=text):
        filled(network(), sharded(tmp_path, **changed))


FACTORIES = """
import sys, torch
from torch import nn

def ends():
    sys.exit("no robot here")

def number():
    return nn.Linear(4, 5), 5

def nothing():
    return nn.Linear(4, 5), ()

def empty():
    with torch.device("meta"):
        return nn.Linear(4, 5), torch.zeros(1, 4)

class Compiled(nn.Module):  # as torch.compile returns, which takes seconds
    def __init__(self, module):
        super().__init__()
        self._orig_mod = module

def wrapped():
    return Compiled(nn.Linear(4, 5)), torch.zeros(1, 4)

def parallel():
    return nn.DataParallel(nn.Linear(4, 5)), torch.zeros(1, 4)
"""


@pytest.fixture
def factories(tmp_path, monkeypatch):
    (tmp_path / "factories_of_the_test.py").write_text(FACTORIES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    torch.save(nn.Linear(4, 5).state_dict(), tmp_path / "weights.pth")
    yield lambda name: BuildOptions(module=f"factories_of_the_test:{name}", trust=True)
    sys.modules.pop("factories_of_the_test", None)


@pytest.mark.parametrize(
    ("name", "text"),
    [("ends", "SystemExit: 'no robot here'"), ("number", "example inputs, found 'int'"), ("empty", "the device meta")],
)
def test_factories_that_make_nothing_to_compile(factories, tmp_path, name, text):
    with pytest.raises(BuildError, match=text):
        frontends.read(tmp_path / "weights.pth", factories(name))


def test_inputs_that_forward_does_not_take(factories, tmp_path):
    with pytest.raises(UnsupportedError, match="missing a required argument"):
        frontends.read(tmp_path / "weights.pth", factories("nothing"))


def test_nothing_is_assumed_under_strict(factories, tmp_path):
    torch.save({"model": nn.Linear(4, 5).state_dict()}, tmp_path / "weights.pth")
    assert frontends.read(tmp_path / "weights.pth", factories("parallel")).origin.assumptions
    with pytest.raises(UnsupportedError, match="but for --strict: that the module's tensors are 'model'"):
        frontends.read(tmp_path / "weights.pth", replace(factories("parallel"), strict=True))


@pytest.mark.parametrize("name", ["wrapped", "parallel"])
def test_wrappers_are_taken_off(factories, name):
    assert isinstance(made(factories(name))[0], nn.Linear)


def test_operations_are_those_of_a_module_that_the_file_fits(factories, tmp_path):
    torch.save({"weight": torch.zeros(3, 4)}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="lacks 'bias'"):
        frontends.operations(tmp_path / "weights.pth", factories("parallel"))
    with pytest.raises(CheckpointError, match="not those of a Stable-Baselines3 policy"):
        frontends.operations(tmp_path / "weights.pth", BuildOptions())
