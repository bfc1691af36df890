"""
Files that torch and Stable-Baselines3 write: every tensor equals what torch.load gives.

Set POLICYC_ZOO to a folder of trained agents (`*/*.zip`, `*/*.vecnormalize.pkl`) to have them all read as well.
"""

import io
import json
import os
from base64 import b64decode
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from compiler.errors import CheckpointError
from compiler.readers.archive import Archive
from compiler.readers.files import read_file
from compiler.readers.pickle_machine import Call, decode
from compiler.readers.tensors import read_tensors
from tests.hostile.zips import Entry, zip_bytes

torch = pytest.importorskip("torch")

# torch says so of every protocol but its own; Stable-Baselines3 has its own reasons to warn.
pytestmark = pytest.mark.filterwarnings("default")
NEEDED = ("observation_space", "action_space", "policy_class", "policy_kwargs")
TYPES = ("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool")
STREAM = {"_use_new_zipfile_serialization": False}
ZOO = os.environ.get("POLICYC_ZOO")
AGENTS = sorted(Path(ZOO).glob("*/*.zip")) if ZOO else []
STATISTICS = sorted(Path(ZOO).glob("*/*.vecnormalize.pkl")) if ZOO else []
needs_zoo = pytest.mark.skipif(not ZOO, reason="POLICYC_ZOO names no folder of trained agents")


def saved(value: object, **options: object) -> bytes:
    target = io.BytesIO()
    torch.save(value, target, **options)
    return target.getvalue()


def check(data: bytes | memoryview, *, weights_only: bool = True) -> None:
    """
    The reader gives what torch gives: names, order, shapes, types, every bit of every element, module paths.
    """
    expected = torch.load(io.BytesIO(bytes(data)), weights_only=weights_only, map_location="cpu")
    file = read_tensors(data, "policy.pth")
    assert list(file.tensors) == list(expected)
    for name, tensor in expected.items():
        wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        array = wide.detach().contiguous().numpy()
        result = file.tensors[name]
        assert (result.shape, result.dtype) == (array.shape, array.dtype), name
        assert result.tobytes() == array.tobytes(), name
        assert result.flags.c_contiguous
        assert result.flags.aligned
        assert not result.flags.writeable
    assert file.module_paths == tuple(getattr(expected, "_metadata", ()))


def examples() -> dict[str, dict]:
    """
    State dicts with everything that a tensor can be.
    """
    torch.manual_seed(0)
    base = torch.randn(6, 8)
    typed = {kind: (torch.randn(3, 5) * 50).to(getattr(torch, kind)) for kind in TYPES}
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.LSTM(4, 5)
    )
    return {
        "typed": typed,
        "views": {"t": base.t(), "columns": base[:, ::3], "row": base[2], "offset": base[3:, 4:], "base": base},
        "small": {"scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4), "expanded": torch.ones(1, 3).expand(1, 3)},
        "shared": {"a": base, "b": base, "c": base.view(-1)[:5]},
        "channels_last": {"w": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)},
        "parameters": {"p": torch.nn.Parameter(base)},
        "non_finite": {"n": torch.tensor([float("nan"), float("inf"), -0.0])},
        "network": network.state_dict(),
        "odd_names": OrderedDict({"a.b": base, "": base, "\u2028{{ }}": base}),
    }


@pytest.mark.parametrize("options", [{}, STREAM, {"pickle_protocol": 4}], ids=["zip", "stream", "protocol-4"])
@pytest.mark.parametrize("name", list(examples()))
def test_equals_torch(name: str, options: dict) -> None:
    # torch's own restricted reader knows no FRAME; what is read here was written a line ago.
    check(saved(examples()[name], **options), weights_only="pickle_protocol" not in options)


@pytest.mark.parametrize("name", [name for name in examples() if name != "network"])
def test_equals_torch_in_big_endian(name: str) -> None:
    """
    torch writes the order of this machine; swapping each storage and the member `byteorder` makes the other one.
    """
    value = examples()[name]
    widths = {storage_key(tensor): tensor.element_size() for tensor in value.values()}
    if len(set(widths.values())) > 1:
        pytest.skip("storages of several widths; their order in the file is not known here")
    width = next(iter(widths.values()))
    data = saved(value)
    check(rewritten(data, width))


def storage_key(tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def rewritten(data: bytes, width: int) -> bytes:
    archive = Archive.open(data, "x")
    entries = []
    for name in archive.names:
        content = bytes(archive.read(name))
        if "/data/" in name:
            content = np.frombuffer(content, f"<u{width}").byteswap().tobytes() if width > 1 else content
        entries.append(Entry(name, b"big" if name.endswith("/byteorder") else content))
    return zip_bytes(entries)


@pytest.mark.parametrize("options", [{}, STREAM], ids=["zip", "stream"])
def test_other_things_that_torch_saves_are_refused_by_name(options: dict) -> None:
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters())
    expected = {
        r"torch\.nn\.modules\.linear\.Linear": network,
        "optimizer": optimizer.state_dict(),
        "single tensor": torch.zeros(2),
        "that of str 'model'": {"model": network.state_dict(), "epoch": 3},
        "no tensors": {"model": {"weight": 5}, "epoch": 3},
        "_rebuild_sparse_tensor": {"a": torch.eye(2).to_sparse()},
    }
    for words, value in expected.items():
        with pytest.raises(CheckpointError, match=words):
            read_tensors(saved(value, **options), "policy.pth")


@pytest.fixture(scope="module", params=["PPO", "SAC", "DQN"])
def model(request):
    library = pytest.importorskip("stable_baselines3")
    environment = {"PPO": "CartPole-v1", "SAC": "Pendulum-v1", "DQN": "CartPole-v1"}[request.param]
    options = {"PPO": {"n_steps": 16, "batch_size": 16}}.get(request.param, {"buffer_size": 10})
    return getattr(library, request.param)("MlpPolicy", environment, device="cpu", seed=1, **options)


class TestStableBaselines3:
    """
    Fresh models: the zip, and what policy.save() writes.
    """

    def test_zip(self, model, tmp_path: Path) -> None:
        model.save(tmp_path / "model.zip")
        check_agent(tmp_path / "model.zip")

    def test_policy_save(self, model) -> None:
        target = io.BytesIO()
        model.policy.save(target)
        file = read_tensors(target.getvalue(), "policy.pth")
        assert list(file.tensors) == list(model.policy.state_dict())
        assert file.data is not None
        assert isinstance(file.data["observation_space"], Call)
        assert file.data["net_arch"] is not None


def check_agent(path: Path) -> None:
    """
    All members have sound checksums, policy.pth equals what torch reads, and the four fields that matter decode.
    """
    archive = Archive.open(read_file(path), path.name)
    for name in archive.names:
        assert len(archive.read(name)) == archive.size(name)
    check(archive.read("policy.pth"))
    fields = json.loads(bytes(archive.read("data")))
    for name in NEEDED:
        field = fields.get(name)
        if isinstance(field, dict) and ":serialized:" in field:
            assert decode(b64decode(field[":serialized:"]), f"{path.name}: data.{name}") is not None


@needs_zoo
def test_the_zoo_has_agents_and_statistics() -> None:
    assert AGENTS
    assert STATISTICS


@pytest.mark.parametrize("path", AGENTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_agents_of_the_zoo(path: Path) -> None:
    check_agent(path)


@pytest.mark.parametrize("path", STATISTICS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_statistics_of_the_zoo(path: Path) -> None:
    decoded = decode(read_file(path), path.name)
    assert isinstance(decoded, Call)
    assert isinstance(decoded.state, dict)
    assert {"obs_rms", "clip_obs", "epsilon"} <= set(decoded.state)
