"""
ONNX files that torch.onnx.export writes: the reference of the model gives what onnxruntime gives.
"""

import zlib

import pytest
import torch

from tests.frontends.onnx_files import compare, exported
from tests.frontends.test_torch_export import randomised
from tests.frontends.torch_modules import ARCHITECTURES
from tests.thorough import chosen

NOT_BY_THE_OLD_WAY = {
    "decoder": "torch's old exporter does not know rms_norm",
    "encoder_post": "torch's old exporter fails on its attention",
}


def made(name, tmp_path, *, dynamo, dynamic=True):
    seed = zlib.crc32(name.encode())
    torch.manual_seed(seed)
    module, examples = ARCHITECTURES[name]()
    data = exported(randomised(module, seed), examples, tmp_path / "model.onnx", dynamo=dynamo, dynamic=dynamic)
    return compare(data, [example.numpy() for example in examples])


BY_EXPORTERS = chosen(ARCHITECTURES, "lenet", "gru", "encoder_pre", "vision", "unet")


@pytest.mark.parametrize("name", BY_EXPORTERS)
def test_files_of_the_new_exporter(name, tmp_path):
    model = made(name, tmp_path, dynamo=True)
    assert model.batched
    assert model.origin.format == "onnx"
    assert dict(model.origin.versions)["onnx opset"] == "20"
    assert "pytorch" in dict(model.origin.versions)


@pytest.mark.parametrize("name", [name for name in BY_EXPORTERS if name not in NOT_BY_THE_OLD_WAY])
def test_files_of_the_old_exporter(name, tmp_path):
    assert made(name, tmp_path, dynamo=False).batched


@pytest.mark.parametrize("name", ["resnet", "lstm_deep", "bert"])
def test_a_file_of_fixed_sizes_takes_one_sample_at_a_time(name, tmp_path):
    assert not made(name, tmp_path, dynamo=False, dynamic=False).batched
