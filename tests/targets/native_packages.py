"""
Policies of every kind as packages with an extension, and the same for Numba, not compiled: their faces are compared.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from compiler import modelfile, products
from compiler.ir import Discrete, Model, MultiDiscrete
from compiler.loading import imported
from compiler.options import BuildOptions
from compiler.package import write_files
from compiler.pipeline import load_model, run_passes
from tests import policies
from tests.generated_code.sampled import POLICIES as SAMPLED
from tests.models import policy, predictor

CARTPOLE = Path(__file__).parents[2] / "model" / "cartpole.zip"

KINDS: Mapping[str, tuple[Model, dict[str, Any]]] = {
    "discrete": (policy((4,), (8,), 3, head="softmax", seed=4), {}),
    "box": (policy((2, 3), (5,), 4, head="rescale", bounds=np.float64, action_shape=(2, 2), kind="TD3Policy"), {}),
    "cube": (policy((3, 3, 3), (5,), 3, image=True, seed=2), {}),
    "image": (policy((3, 5, 4), (5,), 3, image=True), {}),
    "dict": (policies.observing(policies.PARTS, policies.NARROW), {"with_value": True}),
    "choices": (policies.observing(Discrete(7), MultiDiscrete((2, 3))), {}),
    "masked": (SAMPLED["masked"], {}),
    "masked choices": (policies.masked(), {}),
    "normalised": (policies.normalised(), {}),
    "propagating": (policy((4,), (8,), 2, head="clip"), {"nonfinite": "propagate"}),
    "noise": (SAMPLED["noise"], {}),
    "squashed": (SAMPLED["squashed"], {}),
    "recurrent": (SAMPLED["recurrent"], {}),
}
"""One of each kind of observation, action, state and way to draw."""


@dataclass(frozen=True)
class Pair:
    """
    The same policy twice.
    """

    model: Model
    compiled: Model
    options: BuildOptions
    native: ModuleType
    numba: ModuleType


def make(folder: Path, model: Model, **choices: Any) -> tuple[Model, BuildOptions]:
    """
    Makes a package with an extension for this machine's processor, as `build` does, but does not verify it.
    """
    options, triple = products.resolve(BuildOptions(**{"target": "native", "cpu": "native", **choices}))
    compiled = run_passes(model, options)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        product = products.make(
            products.render(compiled, modelfile.encode(compiled), options, triple, folder.name), Path(work)
        )
    write_files(folder, product.files)
    return compiled, options


def cartpole() -> Model:
    """
    The policy that is checked in.
    """
    return load_model(CARTPOLE)


class Pairs(dict[str, Pair]):
    """
    Pairs that are made when they are first asked for.
    """

    def __init__(self, folder: Path, kinds: Mapping[str, tuple[Model, dict[str, Any]]], imports: ExitStack) -> None:
        self._folder, self._kinds, self._imports = folder, kinds, imports

    def __missing__(self, name: str) -> Pair:
        model, choices = self._kinds[name]
        folder = self._folder / "native" / name.replace(" ", "_")
        made = make(folder, model, **choices)
        twin = predictor(self._folder / "numba" / folder.name, model, BuildOptions(**choices), plain=True)
        native, numba = self._imports.enter_context(imported(folder)), self._imports.enter_context(twin)
        self[name] = Pair(model, *made, native, numba)
        return self[name]


@contextmanager
def pairs(folder: Path, kinds: Mapping[str, tuple[Model, dict[str, Any]]] = KINDS) -> Iterator[dict[str, Pair]]:
    """
    All of them, imported for as long as the block runs.
    """
    with ExitStack() as imports:
        yield Pairs(folder, kinds, imports)
