"""
ONNX files whose weights lie in files beside them: read as if they were in the file, and no other file is.
"""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper

from compiler.errors import CheckpointError, PolicycError, UnsupportedError
from compiler.frontends import operations, read, read_with_source
from compiler.ops.reference import evaluate
from compiler.options import BuildOptions
from tests.frontends.onnx_files import one_node


def saved(folder, *, one_file=True, **changed):
    """
    A file with its weights in others; what an entry of the first weight says may be changed.
    """
    random = np.random.default_rng(0)
    weights = {"w": random.standard_normal((4, 3), np.float32), "b": random.standard_normal(3, np.float32)}
    path = folder / "model.onnx"
    onnx.save(one_node("Gemm", weights, ["batch", 4]), path, save_as_external_data=True, location="model.onnx.data",
              all_tensors_to_one_file=one_file, size_threshold=0)  # fmt: skip
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = changed.pop(entry.key, entry.value)
    for key, value in changed.items():
        model.graph.initializer[0].external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def refused(path, kind=UnsupportedError) -> str:
    with pytest.raises(kind) as caught:
        read(path, BuildOptions())
    return str(caught.value)


@pytest.mark.parametrize("one_file", [True, False])
def test_weights_beside_the_file_are_read(tmp_path, one_file):
    path = saved(tmp_path, one_file=one_file)
    model, ask = read_with_source(path, BuildOptions())
    assert ask is not None
    given = np.random.default_rng(1).standard_normal((5, 4), np.float32)
    np.testing.assert_allclose(evaluate(model, {"x": given})[model.outputs[0].tensor], ask([given])[0], 1e-4, 1e-5)
    assert operations(path, BuildOptions()).supported
    others = sorted(set(tmp_path.iterdir()) - {path})
    assert model.origin.sha256 == hashlib.sha256(b"".join(each.read_bytes() for each in [path, *others])).hexdigest()


def test_weights_in_attributes_are_read(tmp_path):
    model = one_node("Add", {"c": np.arange(4, dtype=np.float32)}, ["batch", 4])
    held = model.graph.initializer.pop()
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["c"], value=held))
    external_data_helper.convert_model_to_external_data(
        model, location="held", size_threshold=0, convert_attribute=True
    )
    onnx.save(model, tmp_path / "model.onnx")
    assert (tmp_path / "held").exists()
    found = read(tmp_path / "model.onnx", BuildOptions())
    assert [*evaluate(found, {"x": np.zeros((1, 4), np.float32)})[found.outputs[0].tensor][0]] == [0, 1, 2, 3]


def test_a_missing_file_is_named(tmp_path):
    path = saved(tmp_path)
    (tmp_path / "model.onnx.data").unlink()
    assert "'model.onnx.data', which can't be opened: No such file or directory" in refused(path, CheckpointError)


@pytest.mark.parametrize("location", ["/etc/hostname", "../model.onnx.data", "a/../../x", "", ".", "a\\b", "a\0b"])
def test_files_elsewhere_are_not_read(tmp_path, location):
    assert "read are files in its own folder" in refused(saved(tmp_path, location=location))


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    path = saved(tmp_path / "mine")
    (tmp_path / "secret").write_bytes((tmp_path / "mine/model.onnx.data").read_bytes())
    (tmp_path / "mine/model.onnx.data").unlink()
    (tmp_path / "mine/model.onnx.data").symlink_to(tmp_path / "secret")
    assert "is a link out of its folder" in refused(path)
    path.rename(tmp_path / "blob")
    path.symlink_to(tmp_path / "blob")  # as in caches of downloads
    assert read(path, BuildOptions()).nodes


@pytest.mark.parametrize(
    "changed",
    [{"offset": "48"}, {"offset": "-8"}, {"length": "9999999999999999999"}, {"length": "-1"}, {"offset": "x"},
     {"length": "12"}],
    ids=str,
)  # fmt: skip
def test_places_that_are_not_in_the_file_are_refused(tmp_path, changed):
    assert refused(saved(tmp_path, **changed), PolicycError)


def test_a_small_file_is_not_read_many_times(tmp_path):
    path = saved(tmp_path)
    (tmp_path / "model.onnx.data").write_bytes(bytes(1 << 20))
    model = onnx.load(path, load_external_data=False)
    for number in range(100):
        tensor = model.graph.initializer.add(name=f"t{number}", data_type=TensorProto.FLOAT, dims=[1 << 18])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="model.onnx.data")
    path.write_bytes(model.SerializeToString())
    assert "none of them often" in refused(path)
