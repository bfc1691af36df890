"""
ONNX files, opset 13 and newer.

onnx is imported when one of these is read, never before, and need not be installed for anything else.
"""

from pathlib import Path

from compiler.errors import UnsupportedError
from compiler.frontends.onnx_file.detection import is_onnx
from compiler.frontends.operations import Inventory
from compiler.frontends.source import Read
from compiler.ir import Model
from compiler.options import BuildOptions

__all__ = ["NEEDED", "is_onnx", "list_onnx", "read_onnx", "read_onnx_with_source"]

NEEDED = "is an ONNX file, which needs the package onnx, which is not installed: pip install onnx"


def read_onnx(data: memoryview, path: Path, options: BuildOptions) -> Model:
    """
    The model of an ONNX file.

    Raises:
        CheckpointError: the file is damaged, or is no valid ONNX.
        UnsupportedError: it can't be compiled, or onnx is not installed.
    """
    return read_onnx_with_source(data, path, options).model


def read_onnx_with_source(data: memoryview, path: Path, options: BuildOptions) -> Read:
    """
    The same, and the answers of onnxruntime (or, where that is not installed, of onnx itself) to compare with.
    """
    _need_onnx(path)
    from compiler.frontends.onnx_file.files import read

    return Read(*read(data, path, options))


def list_onnx(data: memoryview, path: Path, options: BuildOptions) -> Inventory:
    """
    The operations of an ONNX file.
    """
    _need_onnx(path)
    from compiler.frontends.onnx_file.files import operations

    return operations(data, path, options)


def _need_onnx(path: Path) -> None:
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise UnsupportedError(str(path), NEEDED) from None
