"""
policyc: compiles trained policies into predictors.

    import compiler

    build = compiler.build("agent.zip")
    build.load().act(observation)
"""

import importlib
from typing import TYPE_CHECKING, Any

from compiler.errors import (
    BuildError,
    CheckpointError,
    ModelFileError,
    PolicycError,
    UnsupportedError,
    VerificationError,
)
from compiler.options import BuildOptions

if TYPE_CHECKING:
    from compiler.pipeline import Build, build, load_model

__version__ = "0.1.0"

__all__ = [
    "Build",
    "BuildError",
    "BuildOptions",
    "CheckpointError",
    "ModelFileError",
    "PolicycError",
    "UnsupportedError",
    "VerificationError",
    "__version__",
    "build",
    "load_model",
]


def __getattr__(name: str) -> Any:
    """
    What brings the whole compiler with it is imported when it is first used: reading a model file needs no templates.
    """
    if name in ("Build", "build", "load_model"):
        return getattr(importlib.import_module("compiler.pipeline"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
