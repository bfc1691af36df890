"""
What a file is, is decided by what is in it.
"""

from pathlib import Path

import pytest
import torch

from compiler import frontends
from compiler.errors import CheckpointError, UnsupportedError
from compiler.options import BuildOptions


@pytest.mark.parametrize("content", [b"x", b"PK\x03\x04", b"policy", bytes(100)])
def test_other_files_are_refused_with_what_was_expected(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "policy.zip"
    path.write_bytes(content)
    found = "zip archive" if content.startswith(b"PK") else "; found a file that begins with b'"
    with pytest.raises(CheckpointError, match=rf"policy\.zip: .*{found}"):
        frontends.read(path, BuildOptions())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_as_such(tmp_path: Path) -> None:
    path = tmp_path / "policy.pth"
    torch.jit.save(torch.jit.script(torch.nn.Linear(4, 2)), str(path))
    with pytest.raises(UnsupportedError, match="is a TorchScript archive"):
        frontends.read(path, BuildOptions())
