"""
The model file: what is written is what is read, byte for byte, and nothing else is read.
"""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import capnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler import resources
from compiler.errors import ModelFileError
from compiler.ir import (
    BATCH,
    ROLES,
    Box,
    Dict,
    Discrete,
    DType,
    Model,
    MultiBinary,
    MultiDiscrete,
    Origin,
    Output,
    Policy,
    State,
)
from compiler.modelfile import SCHEMA_VERSION, decode, encode, is_model_file, looks_like_model
from compiler.modelfile.frame import schema
from compiler.ops import reference
from compiler.ops.builder import GraphBuilder
from tests.strategies import inputs_of, models, spaces

ROOT = Path(__file__).parents[1]
SEAL = 56
property_test = settings(
    max_examples=75, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def sample(hidden: int = 5) -> Model:
    """
    A small policy with one of everything.
    """
    builder = GraphBuilder()
    x = builder.input("observation", DType.FLOAT32, (BATCH, 3))
    weight = builder.constant("l1.weight", np.arange(hidden * 3, dtype=np.float32).reshape(hidden, 3))
    bias = builder.constant("l1.bias", np.full(hidden, np.nan, np.float32))
    y = builder.add("softplus", [builder.add("linear", [x, weight, bias], "l1")], "act", beta=2.0)
    y = builder.add("argmax", [y], "argmax")
    builder.constant("mask", np.array([True, False, True]))
    initial = builder.constant("zeros", np.zeros(2, np.float32))
    state = builder.input("state", DType.FLOAT32, (BATCH, 2))
    after = builder.add("gelu", [state], "cell", approximate="tanh")
    low = np.array([-np.inf, -1, 0], np.float32)
    observation = Dict(
        (
            ("image", Box(DType.UINT8, np.zeros((2, 2, 1), np.uint8), np.full((2, 2, 1), 255, np.uint8))),
            ("inner", Dict((("bits", MultiBinary((2, 3))), ("vector", Box(DType.FLOAT32, low, low + 1))))),
            ("choices", MultiDiscrete((3, 4), (0, -1))),
        )
    )
    return Model(
        name="sample",
        nodes=tuple(builder.nodes),
        tensors=builder.tensors,
        inputs=(x,),
        outputs=(Output("action", y, "action"),),
        origin=Origin("ppo.zip", "ab" * 32, "sb3-zip", (("stable_baselines3", "2.9.2"),), ("relu is assumed",)),
        states=(State("hidden", state, after, initial),),
        policy=Policy("ActorCriticPolicy", observation, Discrete(hidden, 1)),
    )


def same(one: Model, other: Model) -> bool:
    """
    Equality in every field, with types, with the order of tensors, and with NaN equal to itself.
    """

    def plain(model: Model) -> list[object]:
        policy = repr(model.policy)
        nodes = [(n.op, n.name, n.inputs, n.outputs, repr(sorted(n.attributes.items()))) for n in model.nodes]
        rest = [model.inputs, model.outputs, model.origin, model.states, model.policy, policy]
        return [model.name, nodes, list(model.tensors.items()), *rest]

    return plain(one) == plain(other)


@property_test
@given(models(stateful=True))
def test_reading_gives_back_what_was_written(model):
    encoded = encode(model)
    read = decode(encoded.data, "m")
    assert same(read, model)
    assert encode(read) == encoded


@property_test
@given(models())
def test_offsets_lead_to_the_weights(model):
    encoded = encode(model)
    assert encoded.blob_offset % 64 == 0
    assert encoded.blob_offset + encoded.blob_size == len(encoded.data) - SEAL
    assert list(encoded.offsets) == [tensor.name for tensor in model.constants()]
    for tensor in model.constants():
        start = encoded.offsets[tensor.name]
        assert start % 64 == 0
        assert encoded.data[encoded.blob_offset + start :].startswith(tensor.data.tobytes())
        assert start + tensor.data.nbytes <= encoded.blob_size


@property_test
@given(models(), st.integers(1, 3))
def test_a_read_model_computes_the_same(model, batch):
    inputs = inputs_of(model, batch)
    # A signalling NaN among the constants makes NumPy warn.
    with np.errstate(invalid="ignore"):
        before = reference.evaluate(model, inputs)
        after = reference.evaluate(decode(encode(model).data, "m"), inputs)
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


@property_test
@given(spaces(), spaces())
def test_spaces_come_back(observation, action):
    model = replace(sample(), policy=Policy("", observation, action))
    policy = decode(encode(model).data, "m").policy
    assert policy is not None
    assert (policy.observation_space, policy.action_space) == (observation, action)


def test_same_compares():
    model = sample()
    assert same(model, sample())
    assert not same(model, replace(model, name="other"))
    assert not same(model, replace(model, nodes=(*model.nodes[:1], replace(model.nodes[1], attributes={}))))
    assert not same(model, model.with_graph(model.nodes, dict(reversed([*model.tensors.items()]))))


@pytest.mark.parametrize(
    "value",
    [
        True,
        0,
        -(2**63),
        2**63 - 1,
        -0.0,
        float("nan"),
        1e-320,
        "",
        "a\0\u2028",
        (),
        (1, -2),
        (1.0, float("inf")),
        ("", "x"),
    ],
    ids=ascii,
)
def test_attributes_keep_their_types(value, monkeypatch):
    monkeypatch.setattr("compiler.ops.table.Op.check_attributes", lambda row, attributes: None)
    model = sample()
    node = replace(model.nodes[1], attributes={"b": value, "a": value})
    model = replace(model, nodes=(model.nodes[0], node, *model.nodes[2:]))
    read = decode(encode(model).data, "m").nodes[1].attributes
    assert repr(read) == repr({"a": value, "b": value})


DIGEST = """
import hashlib
from compiler.modelfile import encode
from tests.test_modelfile import sample
print(hashlib.sha256(encode(sample()).data).hexdigest())
"""


def test_bytes_are_the_same_in_every_process():
    expected = hashlib.sha256(encode(sample()).data).hexdigest()
    for seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected


def test_bytes_depend_on_the_model_alone():
    model = sample()
    reordered = [replace(node, attributes=dict(reversed([*node.attributes.items()]))) for node in model.nodes]
    assert any(list(a.attributes) != list(b.attributes) for a, b in zip(model.nodes, reordered, strict=True))
    assert encode(replace(model, nodes=tuple(reordered))) == encode(model)
    weight = model.tensors["l1.weight"]
    fortran = replace(weight, data=np.asfortranarray(weight.data))
    assert encode(model.with_graph(model.nodes, {**model.tensors, "l1.weight": fortran})) == encode(model)
    zeros = model.tensors["zeros"]
    strided = replace(zeros, data=np.zeros(4, np.float32)[::2])
    assert encode(model.with_graph(model.nodes, {**model.tensors, "zeros": strided})) == encode(model)
    assert encode(replace(model, name="other")).data != encode(model).data


def test_every_truncation_is_refused():
    data = encode(sample()).data
    for size in range(len(data)):
        with pytest.raises(ModelFileError):
            decode(data[:size], "m")


@pytest.mark.parametrize("mask", [0xFF, 0x01])
def test_every_flipped_byte_is_refused(mask):
    data = bytearray(encode(sample()).data)
    for index in range(len(data)):
        data[index] ^= mask
        with pytest.raises(ModelFileError):
            decode(bytes(data), "m")
        data[index] ^= mask
    decode(bytes(data), "m")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "damaged: it must have"),
        (lambda data: data + b"\0", "damaged: it must have"),
        (lambda data: data[:100] + b"?" + data[101:], "SHA-256 differs"),
        (lambda data: data.replace(b"\n", b"\r\n"), "damaged"),
        (lambda data: b"", "not a model file"),
        (lambda data: b"PK\x03\x04" + data[4:], "not a model file"),
        (lambda data: data[-SEAL:], "not a model file"),
    ],
)
def test_damage_is_named(change, words):
    data = encode(sample()).data
    assert data != change(data)
    with pytest.raises(ModelFileError, match=words) as refused:
        decode(change(data), "policy.model")
    assert str(refused.value).startswith("policy.model: ")


@pytest.mark.parametrize("kind", [bytes, memoryview, bytearray, lambda data: np.frombuffer(data, np.uint8).data])
def test_model_files_are_recognised(kind):
    data = encode(sample()).data
    assert is_model_file(kind(data))
    assert looks_like_model(kind(data))
    for cut in (data[:-1], data[:-SEAL], data[-SEAL:], b"", b"x" * 100):
        assert not is_model_file(kind(cut))
    for size in (24, 25, 60, len(data) - 1):
        assert looks_like_model(kind(data[:size]))
    for other in (data[:23], b"", b"PK\3\4" + bytes(100), bytes(100), data[1:], data[:8] + b"\4" + data[9:]):
        assert not looks_like_model(kind(other))


def test_a_model_of_70_mib_is_mapped_and_not_copied(tmp_path):
    model = sample(hidden=70 * 2**20 // 12)
    encoded = encode(model)
    assert len(encoded.data) > 70 * 2**20
    (tmp_path / "m").write_bytes(encoded.data)
    mapped = np.memmap(tmp_path / "m", mode="r")
    read = decode(mapped.data, "m")
    assert same(read, model)
    for tensor in read.constants():
        assert tensor.data is not None
        assert not tensor.data.flags.writeable
        assert tensor.data.flags.aligned
        assert tensor.data.flags.c_contiguous
        assert np.shares_memory(tensor.data, mapped)
        assert tensor.data.ctypes.data % 64 == 0


@pytest.mark.parametrize("shift", range(1, 9))
def test_unaligned_bytes_can_be_read(shift):
    data = encode(sample()).data
    read = decode(memoryview(bytearray(bytes(shift) + data))[shift:], "m")
    assert same(read, sample())
    arrays = [tensor.data for tensor in read.constants() if tensor.data is not None]
    assert arrays
    assert all(array.flags.aligned and not array.flags.writeable for array in arrays)


def test_decoding_leaves_the_callers_buffer_writable():
    data = np.frombuffer(bytearray(encode(sample()).data), np.uint8)
    decode(data.data, "m")
    assert data.flags.writeable


def test_the_schema_has_what_the_model_has():
    file = schema()
    assert list(file.DType.schema.enumerants) == [str(dtype) for dtype in DType]
    assert list(file.Role.schema.enumerants) == list(ROLES)
    assert file.schemaVersion == SCHEMA_VERSION


def test_capnp_alone_can_read_a_file():
    encoded = encode(sample())
    end = len(encoded.data) - SEAL
    with schema().Model.from_bytes(encoded.data[:end]) as root:
        assert root.magic == schema().modelMagic
        assert root.name == "sample"
        assert root.needs == "0.1.0"
        assert root.tensors[1].constant.offset == encoded.offsets["l1.weight"]
        assert root.blob == encoded.data[encoded.blob_offset : end]
        assert len(root.padding) < 64
    with schema().Seal.from_bytes(encoded.data[end:]) as seal:
        assert seal.magic == schema().sealMagic
        digest = [seal.digest0, seal.digest1, seal.digest2, seal.digest3]
    found = b"".join(word.to_bytes(8, "little") for word in digest)
    assert found == hashlib.sha256(encoded.data[:end]).digest()


def test_the_import_hook_is_off():
    def hooks() -> list[object]:
        return [finder for finder in sys.meta_path if type(finder).__module__.startswith("capnp")]

    assert hooks() == []
    capnp.add_import_hook()
    assert len(hooks()) == 1
    capnp.remove_import_hook()


def test_resources_are_found_in_a_wheel_and_in_a_checkout(tmp_path, monkeypatch):
    assert resources.resource("schemas") == ROOT / "schemas"
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "compiler")
    with pytest.raises(FileNotFoundError, match="schemas is missing"):
        resources.resource("schemas")
    (tmp_path / "schemas").mkdir()
    assert resources.resource("schemas") == tmp_path / "schemas"
    (tmp_path / "compiler" / "schemas").mkdir(parents=True)
    assert resources.resource("schemas") == tmp_path / "compiler" / "schemas"
