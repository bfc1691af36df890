"""
The tensor reader on files made without torch: types, views, both containers, and what it says of other files.
"""

import numpy as np
import pytest

from compiler.errors import CheckpointError
from compiler.readers.tensors import TensorFile, read_tensors
from tests.hostile.assemble import Call, Global, Reference, assemble
from tests.hostile.policies import (
    ORDERED_DICT,
    REBUILD,
    ppo_tensors,
    state_dict,
    tensor,
    torch_stream,
    torch_zip,
    weights,
)
from tests.hostile.zips import Entry, zip_bytes

BFLOAT16 = {0x3F80: 1.0, 0xC000: -2.0, 0x7F80: np.inf, 0x0001: 2.0**-133, 0x0000: 0.0}
STORAGES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "CharStorage": "i1", "ShortStorage": "i2",
    "IntStorage": "i4", "LongStorage": "i8", "ByteStorage": "u1",
}  # fmt: skip


def over(kind: str, count: int, shape: tuple, stride: tuple, offset: int = 0) -> Call:
    storage = Reference(("storage", Global("torch", kind), "0", "cuda:0", count))
    return Call(REBUILD, (storage, offset, shape, stride, True, Call(ORDERED_DICT)))


def one(value: object, raw: bytes, **members: bytes) -> np.ndarray:
    return read_tensors(torch_zip(assemble(state_dict({"a": value})), {"0": raw}, **members), "p").tensors["a"]


def check_promises(file: TensorFile) -> None:
    for array in file.tensors.values():
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert array.dtype.isnative
        assert not array.flags.writeable


def test_reads_a_policy_with_its_order_and_module_paths() -> None:
    expected = ppo_tensors()
    file = read_tensors(weights(expected), "policy.pth")
    assert list(file.tensors) == list(expected)
    assert all(np.array_equal(file.tensors[name], array) for name, array in expected.items())
    assert file.module_paths == tuple(dict.fromkeys(name.rpartition(".")[0] for name in expected))
    assert file.data is None
    check_promises(file)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(("kind", "code"), STORAGES.items())
def test_types_and_byte_orders(kind: str, code: str, order: str) -> None:
    values = np.array([[1, 2, 3], [4, 5, 100]], code)
    raw = values.astype(values.dtype.newbyteorder("<" if order == "little" else ">")).tobytes()
    result = one(over(kind, 6, (2, 3), (3, 1)), raw, byteorder=order.encode())
    assert np.array_equal(result, values)
    assert result.dtype == values.dtype
    assert result.dtype.isnative


@pytest.mark.parametrize("order", ["little", "big"])
def test_bfloat16_becomes_float32_exactly(order: str) -> None:
    raw = np.array(list(BFLOAT16), "<u2" if order == "little" else ">u2").tobytes()
    result = one(over("BFloat16Storage", 5, (5,), (1,)), raw, byteorder=order.encode())
    assert result.dtype == np.float32
    assert result.tolist() == list(BFLOAT16.values())


def test_booleans_are_made_valid() -> None:
    assert one(over("BoolStorage", 3, (3,), (1,)), b"\x00\x01\x07").view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("shape", "stride", "offset"),
    [
        ((3, 4), (1, 3), 0), ((2, 2), (8, 3), 0), ((), (), 5), ((1,), (1000,), 11), ((0, 4), (4, 1), 12),
        ((3, 0), (1, 1), 0), ((2, 3), (0, 1), 2), ((12,), (1,), 0), ((1, 1, 1), (7, 8, 9), 3),
    ],
)  # fmt: skip
def test_views(shape: tuple, stride: tuple, offset: int) -> None:
    base = np.arange(12, dtype=np.float32)
    result = one(over("FloatStorage", 12, shape, stride, offset), base.tobytes())
    assert result.shape == shape
    for index in np.ndindex(shape):
        assert result[index] == offset + sum(step * place for step, place in zip(stride, index, strict=True))


def test_names_of_one_tensor_share_it_and_parameters_are_tensors() -> None:
    value = over("FloatStorage", 2, (2,), (1,))
    parameter = Call(Global("torch._utils", "_rebuild_parameter"), (value, True, Call(ORDERED_DICT)))
    result = one(parameter, np.array([1, 2], np.float32).tobytes())
    assert result.tolist() == [1, 2]


def test_untyped_storages() -> None:
    storage = Reference(("storage", Global("torch.storage", "UntypedStorage"), "0", "cpu", 8))
    rebuild = Global("torch._utils", "_rebuild_tensor_v3")
    arguments = (storage, 0, (2,), (1,), False, Call(ORDERED_DICT))
    raw = np.array([1, 2], np.float32).tobytes()
    assert one(Call(rebuild, (*arguments, Global("torch", "float32"), None)), raw).tolist() == [1, 2]
    with pytest.raises(CheckpointError, match=r"'a': .*torch\.complex64"):
        one(Call(rebuild, (*arguments, Global("torch", "complex64"), None)), raw)
    with pytest.raises(CheckpointError, match="of which type"):
        one(Call(REBUILD, arguments), raw)


def test_reads_streams() -> None:
    values = {"a": tensor("x", 3, (3,)), "b": tensor("y", 2, (2,), code="i8")}
    raw = {"x": np.arange(3, dtype="<f4").tobytes(), "y": np.arange(2, dtype="<i8").tobytes()}
    file = read_tensors(torch_stream(state_dict(values), {"y": (2, raw["y"]), "x": (3, raw["x"])}), "p")
    assert {name: array.tolist() for name, array in file.tensors.items()} == {"a": [0, 1, 2], "b": [0, 1]}
    check_promises(file)


def test_reads_what_policy_save_writes() -> None:
    inner = state_dict({"a": over("FloatStorage", 1, (1,), (1,))})
    data = {"use_sde": False, "activation_fn": Global("torch.nn.modules.activation", "Tanh")}
    file = read_tensors(torch_zip(assemble({"state_dict": inner, "data": data}), {"0": bytes(4)}), "p")
    assert file.data is not None
    assert file.data["use_sde"] is False
    assert list(file.tensors) == ["a"]


def test_plain_dicts_have_no_module_paths() -> None:
    file = read_tensors(torch_zip(assemble({"a": over("FloatStorage", 1, (1,), (1,))}), {"0": bytes(4)}), "p")
    assert file.module_paths == ()


def test_all_bad_tensors_are_listed() -> None:
    bad = {f"layer{index}": over("FloatStorage", 4, (index + 9,), (1,)) for index in range(60)}
    with pytest.raises(CheckpointError) as refused:
        read_tensors(torch_zip(assemble(state_dict(bad)), {"0": bytes(16)}), "p")
    assert len(refused.value.findings) == 51
    assert "'layer0'" in str(refused.value)
    assert "and 10 more" in str(refused.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Call(Global("my.project", "Net"), (), {"training": False}, new=True), r"my\.project\.Net.*state_dict\(\)"),
        ({"state": {}, "param_groups": []}, "optimizer"),
        (over("FloatStorage", 1, (1,), (1,)), "single tensor"),
        ([1, 2], "a list, not a state dict"),
        (None, "None, not a state dict"),
        ({}, "no tensors"),
        ({"model": {"a": 1}}, "no tensors"),
        ({1: over("FloatStorage", 1, (1,), (1,))}, "not text"),
        ({"a": over("FloatStorage", 1, (1,), (1,)), "b": 3}, "'b': expected a dense tensor, found 3"),
    ],
)
def test_says_what_else_a_file_holds(value: object, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_tensors(torch_zip(assemble(value), {"0": bytes(4)}), "p")


def test_says_what_other_files_are() -> None:
    module = Reference(("module", Global("my.project", "Net"), "net.py", "class Net: ..."))
    stream = torch_stream(Call(module, (), {}, new=True), {})
    script = zip_bytes([Entry("net/data.pkl", b"\x80\x02N."), Entry("net/constants.pkl", b"\x80\x02N.")])
    expected = {
        b"hello": "neither a zip archive nor a stream of pickles",
        assemble({"a": 1}): "a pickle of a dict",
        stream: r"my\.project\.Net.*state_dict\(\)",
        script: "TorchScript",
        zip_bytes([Entry("data.pkl", b"\x80\x02N.")]): "no single data.pkl",
        zip_bytes([Entry("a/data.pkl", b"\x80\x02N."), Entry("b/data.pkl", b"\x80\x02N.")]): "no single data.pkl",
    }
    for data, words in expected.items():
        with pytest.raises(CheckpointError, match=words):
            read_tensors(data, "p")
