"""
Lists of operations: all of a file, refused ones too, each with its place and with what is nearest to it.
"""

import json
from pathlib import Path

import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.export import Dim, export, save
from torch.nn import functional

from compiler import frontends
from compiler.errors import CheckpointError, UnsupportedError
from compiler.frontends.nearest import nearest
from compiler.frontends.operations import Inventory
from compiler.frontends.torch_export.quiet import quietly
from compiler.options import BuildOptions
from tests.test_cli import run

# torch says of all TorchScript that torch.export is to be used.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

BATCH = ({0: Dim("batch")},)


class Inner(nn.Module):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        return torch.cummax(x, -1).values + torch.lgamma(x.abs() + 1)


class Refused(nn.Module):  # type: ignore[misc]
    """
    Operations that are unknown, one after the other, and some of which only the arguments are refused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.linear = Inner(), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(self.inner(x)).view(-1, 1, 2, 2)
        near = functional.avg_pool2d(y, 2, ceil_mode=True)
        far = functional.avg_pool2d(y, 2, ceil_mode=True, divisor_override=3)
        return torch.logcumsumexp(y.flatten(1), -1) + (near + far).flatten(1) + torch.rand_like(x[:, :1])


def saved(module: nn.Module, path: Path, *, example: Tensor | None = None) -> Path:
    with quietly():
        save(export(module.eval(), (torch.zeros(2, 6) if example is None else example,), dynamic_shapes=BATCH), path)
    return path


def listed(path: Path, **options: object) -> Inventory:
    return frontends.operations(path, BuildOptions(**options))  # type: ignore[arg-type]


def test_all_operations_of_a_program_are_listed(tmp_path):
    found = {one.name: one for one in listed(saved(Refused(), tmp_path / "refused.pt2")).operations}
    refused = {name for name, one in found.items() if not one.supported}
    assert refused == {
        "aten.cummax.default",
        "aten.lgamma.default",
        "aten.logcumsumexp.default",
        "aten.avg_pool2d.default",
        "aten.rand_like.default",
    }
    assert found["aten.linear.default"].supported
    assert found["aten.avg_pool2d.default"].count == 2
    (reason,) = found["aten.avg_pool2d.default"].refusals
    assert reason == "is compiled with ceil_mode or with divisor_override, not with both"
    assert found["aten.logcumsumexp.default"].nearest == "aten.logsumexp.default"
    assert found["aten.cummax.default"].place.startswith("'inner.cummax' (aten.cummax.default) at test_operations.py:")
    assert "module.eval()" in found["aten.rand_like.default"].refusals[0]


def test_a_program_that_can_be_compiled_has_nothing_refused(tmp_path):
    found = listed(saved(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)), tmp_path / "good.pt2"))
    assert found.supported
    assert [(one.name, one.count) for one in found.operations] == [("aten.linear.default", 2), ("aten.relu.default", 1)]


def test_a_program_of_sequences_is_tried_with_one_length(tmp_path):
    with quietly():
        shapes = ({0: Dim("batch"), 1: Dim("length", min=2)},)
        save(export(nn.Linear(6, 4), (torch.zeros(2, 5, 6),), dynamic_shapes=shapes), tmp_path / "sequence.pt2")
    assert listed(tmp_path / "sequence.pt2").supported


def test_what_is_wrong_with_the_whole_file_is_said_as_well(tmp_path):
    found = listed(saved(nn.Linear(6, 4).double(), tmp_path / "d.pt2", example=torch.zeros(2, 6, dtype=torch.float64)))
    assert not found.supported
    assert ".float()" in found.findings[0]
    assert [one.name for one in found.operations] == ["aten.linear.default"]


def test_operations_of_a_torch_script_archive_and_of_a_state_dict(tmp_path, monkeypatch):
    with quietly():
        torch.jit.trace(nn.Sequential(nn.Linear(6, 4), nn.Tanh()), torch.zeros(1, 6)).save(tmp_path / "s.pt")
    found = listed(tmp_path / "s.pt", trust=True, example_shapes="1,6")
    assert found.supported
    assert "aten.tanh.default" in {one.name for one in found.operations}
    with pytest.raises(UnsupportedError, match="--trust"):
        listed(tmp_path / "s.pt")
    torch.save(Refused().state_dict(), tmp_path / "state.pth")
    (tmp_path / "made_here.py").write_text(
        "import torch\nfrom tests.frontends.test_operations import Refused\n"
        "def factory():\n    return Refused(), (torch.zeros(1, 6),)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = listed(tmp_path / "state.pth", trust=True, module="made_here:factory")
    assert "aten.cummax.default" in {one.name for one in found.operations if not one.supported}


def test_operations_of_an_onnx_file(tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Det", ["a"], ["d"], name="determinant"),
        helper.make_node("CumSum", ["a", "axis"], ["b"]),
        helper.make_node("Compress", ["b", "some"], ["c"], axis=1),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 3])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None, 3]),
            helper.make_tensor_value_info("d", TensorProto.FLOAT, [None]),
        ],
        [
            helper.make_tensor("axis", TensorProto.INT64, [], [1]),
            helper.make_tensor("some", TensorProto.BOOL, [3], [1, 0, 1]),
        ],
    )
    path = tmp_path / "some.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    found = {one.name: one for one in listed(path).operations}
    assert {name for name, one in found.items() if not one.supported} == {"Det", "Compress"}
    assert found["Det"].place == "node 'determinant' (Det)"
    assert found["Relu"].count == 2


def test_a_policy_has_no_operations(tmp_path):
    with pytest.raises(UnsupportedError, match="without --ops"):
        listed(Path("model/cartpole.zip"))
    (tmp_path / "text").write_text("nothing")
    with pytest.raises(CheckpointError):
        listed(tmp_path / "text")


def test_the_command_line_lists_them_and_says_by_its_status_whether_all_are_compiled(tmp_path):
    refused = saved(Refused(), tmp_path / "refused.pt2")
    text = run("inspect", refused, "--ops", status=3).stdout
    assert "aten.logcumsumexp.default: is not compiled; the nearest that is compiled: aten.logsumexp.default" in text
    assert "kinds of operations are refused" in text
    document = json.loads(run("inspect", refused, "--ops", "--json", status=3).stdout)
    assert not document["supported"]
    assert {one["name"]: one["supported"] for one in document["operations"]}["aten.cummax.default"] is False
    good = saved(nn.Linear(6, 4), tmp_path / "good.pt2")
    assert "1 operations of 1 kinds: all can be compiled" in run("inspect", good, "--ops").stdout
    assert "without --after" in run("inspect", good, "--ops", "--after", "read", status=2).stderr


def test_the_nearest_name():
    known = {name: name for name in ("sum", "logsumexp", "cumsum", "clamp_max", "max", "conv2d", "t")}
    assert nearest("logcumsumexp", known) == "logsumexp"
    assert nearest("cummax", known) == "max"
    assert nearest("lgamma", known) is None
    assert nearest("unique", known) is None
