"""
Packages whose models are no policies: verified again, against their model file and against their source.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.export import Dim, export, save

import compiler
from compiler import modelfile
from compiler.cli import cli
from compiler.cli.common import REFUSED
from compiler.errors import VerificationError
from compiler.ir import Tensor
from compiler.ops import OPS
from compiler.verify_package import ProgramComparison, verify_package

pytestmark = pytest.mark.slow


def program(path, seed: int = 0, features: int = 5):
    torch.manual_seed(seed)
    module = torch.nn.Sequential(torch.nn.Linear(features, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).eval()
    save(export(module, (torch.zeros(2, features),), dynamic_shapes=({0: Dim("batch")},)), path)
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    source = program(folder / "net.pt2")
    return compiler.build(source, out=folder), source


def test_a_package_is_what_its_source_is(built):
    build, source = built
    found = verify_package(build.path, against=source)
    assert found.verification == verify_package(build.path).verification or found.verification.score_error < 1e-5
    assert found.source == ProgramComparison("torch-export", found.verification.observations)
    assert found.to_json()["source"] == {"format": "torch-export", "observations": 8}


def test_another_program_is_not_the_source(built, tmp_path):
    build, _ = built
    with pytest.raises(
        VerificationError, match="gives something else than the predictor: it was built from another file"
    ):
        verify_package(build.path, against=program(tmp_path / "other.pt2", seed=1))
    with pytest.raises(VerificationError, match="takes other inputs than the predictor"):
        verify_package(build.path, against=program(tmp_path / "wider.pt2", features=6))


def test_what_the_command_says(built):
    build, source = built
    result = CliRunner().invoke(cli, ["verify", str(build.path), "--against", str(source)])
    assert result.exit_code == 0, result.output
    assert "verified: 8 observations, each alone and in batches; worst error of an output" in result.output
    assert "the same as its source, a program of the format torch-export: 8 observations" in result.output


def test_a_changed_package_is_refused(built, tmp_path):
    build, source = built
    copy = tmp_path / build.path.name
    copy.mkdir()
    for file in build.path.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    (copy / "kernels.py").write_text((copy / "kernels.py").read_text().replace("tanh(", "-tanh(", 1))
    result = CliRunner().invoke(cli, ["verify", str(copy), "--against", str(source)])
    assert result.exit_code == REFUSED


def scaled(encode):
    """
    Another blob than the model's: the last bias is a little larger.
    """

    def wrong(model):
        name = model.nodes[-1].inputs[2]
        tensor = model.tensors[name]
        larger = Tensor.constant(name, (np.asarray(tensor.data) + 0.01).astype(np.float32))
        return encode(replace(model, tensors={**model.tensors, name: larger}))

    return wrong


def test_wrong_weights_are_found_by_the_build(tmp_path, monkeypatch):
    source = program(tmp_path / "net.pt2")
    monkeypatch.setattr(modelfile, "encode", scaled(modelfile.encode))
    with pytest.raises(VerificationError, match="'output', asked in a batch of 1: gives"):
        compiler.build(source, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wrong_translation_is_found_by_the_build(tmp_path, monkeypatch):
    source = program(tmp_path / "net.pt2")
    row = OPS["tanh"]
    monkeypatch.setitem(OPS, "tanh", replace(row, reference=np.sin))
    with pytest.raises(VerificationError, match=r"the source gives .* as policyc understands them give"):
        compiler.build(source, out=tmp_path / "out")


class Mixing(torch.nn.Module):  # type: ignore[misc]
    """
    Subtracts the mean of the whole batch.
    """

    def forward(self, x):
        return x - x.mean(0, keepdim=True)


def test_observations_that_depend_on_each_other_are_refused(tmp_path):
    with pytest.raises(compiler.PolicycError):
        compiler.build(Mixing(), example_inputs=(torch.zeros(2, 3),), out=tmp_path)
    assert not any(tmp_path.iterdir())
