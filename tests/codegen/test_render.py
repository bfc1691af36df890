"""
Generated files: no text of a checkpoint becomes code, every file reads as formatted, linted and typed.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler import codegen, modelfile
from compiler.codegen import PACKAGE
from compiler.errors import PolicycError
from compiler.ir import Box, Discrete, DType, Model, MultiBinary, MultiDiscrete, Output
from compiler.options import LANES, BuildOptions
from compiler.pipeline import run_passes
from tests import policies
from tests.codegen.test_naming import HOSTILE
from tests.models import observations, policy, predictor, sources, write
from tests.strategies import ACTIVATIONS

ROOT = Path(__file__).parents[2]
PLAIN_NAMES = ("one", "two", "three")

# What a layer could be called that already means something in the module of kernels, or in its functions.
MEANINGFUL = (
    *("load", "store", "tanh", "exp", "fma", "np", "entry", "kernel", "inline", "policy", "policy_block", "infer"),
    *("infer_block", "act_one", "predict_rows", "finite", "stage", "transpose", "weights", "work", "observation"),
    *("source", "target", "weight", "bias", "x", "i", "a0", "first", "place", "block", "columns", "status", "room"),
    *("advance", "pointer", "numpy", "simd", "jit", "row", "rows", "count", "lanes", "range", "min", "int", "print"),
    *("class", "None", "match", "_", "__init__", "WORKSPACE", "LANES", "Pointer", "finite_block", "infer_row"),
)


def named(names: tuple[str, ...] = PLAIN_NAMES, file: str = "agent.zip", **settings) -> Model:
    hidden = (3,) * (len(names) - 1)
    return policy((4,), hidden, 2, names=names, file=file, assumptions=[file], **settings)


def texts(model: Model, options: BuildOptions | None = None) -> dict[str, str]:
    files = sources(model, options or BuildOptions())
    return {name: text for name, text in files.items() if isinstance(text, str)}


def skeleton(files: dict[str, str]) -> dict[str, str]:
    """
    The syntax trees without literals, docstrings and the names of kernels, and the comments: equal for equal code.
    """
    found = {}
    for name, text in files.items():
        tree = ast.parse(re.sub(r"(?m)^WEIGHTS_AT: Final = \d+$", "", text))  # depends on the length of texts
        kernels = {node.name: f"kernel_{number}" for number, node in enumerate(tree.body) if hasattr(node, "name")}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                node.value = ""
            elif isinstance(node, ast.FunctionDef):
                node.name = kernels.get(node.name, node.name)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                node.func.id = kernels.get(node.func.id, node.func.id)
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        found[name] = ast.dump(tree) + str([token.string for token in tokens if token.type == tokenize.COMMENT])
    return found


@pytest.fixture(scope="module")
def benign() -> dict[str, str]:
    return skeleton(texts(named()))


def check_text(files: dict[str, str], benign: dict[str, str]) -> None:
    assert skeleton(files) == benign
    for name, content in files.items():
        assert re.fullmatch(r"[ -~\n]*", content), name


# A model file holds no lone surrogate: see test_modelfile.py.
@pytest.mark.parametrize("text", [text for text in HOSTILE if text != "\ud800"], ids=lambda text: ascii(text[:20]))
def test_hostile_texts_change_no_code(text, benign):
    check_text(texts(named((text, f"{text}.", "three"))), benign)
    check_text(texts(named(file=text)), benign)
    face = texts(named(file=text))["predictor.py"]
    spec = ast.literal_eval(face.split("SPEC: Final[dict[str, Any]] = ")[1].split('\n"""')[0])
    assert spec["source"]["file"] == text
    assert spec["assumed"] == [text]
    model = named()
    assert model.policy is not None
    check_text(texts(replace(model, policy=replace(model.policy, kind=text))), benign)
    outputs = tuple(replace(output, name=f"{output.role}{text}") for output in model.outputs)
    check_text(texts(replace(model, outputs=outputs, name=text)), benign)


@pytest.mark.parametrize("names", [MEANINGFUL[:40], MEANINGFUL[40:]])
def test_names_that_mean_something(names, tmp_path):
    names = (*names, *(f"{name}_block" for name in names[:5]), "x.y", "x_y", "X/Y")
    model = named(names)
    with predictor(tmp_path / "package", model, plain=True) as module:
        rows = observations(model, 20)
        usual = named(tuple(map(str, range(len(names)))))
        with predictor(tmp_path / "usual", usual, plain=True) as other:
            assert module.scores(rows).tobytes() == other.scores(rows).tobytes()
            assert module.act(rows[0]) == other.act(rows[0])
    kernels = ast.parse((tmp_path / "package" / "kernels.py").read_text())
    functions = [node.name for node in kernels.body if isinstance(node, ast.FunctionDef)]
    assert len(functions) == len(set(functions))


def test_compiled_kernels_may_be_called_as_their_arguments(tmp_path):
    model = named(("weights", "work", "observation"))
    with predictor(tmp_path / "package", model) as module:
        assert module.predict(observations(model, 20))[0].shape == (20,)


def test_a_text_in_an_attribute_is_no_code():
    model = policy((4,), (3,), 2, activations=("gelu", {"approximate": "none(x)\n\n\nprint(1)\n#"}))
    with pytest.raises(PolicycError, match="there is no function"):
        texts(model)


@pytest.mark.parametrize(
    "activation",
    [
        ("hardtanh", {"min_val": float("-inf"), "max_val": float("inf")}),
        ("threshold", {"threshold": 0.0, "value": float("nan")}),
        ("softplus", {"beta": 1.0, "threshold": float("inf")}),
        ("leaky_relu", {"negative_slope": 1e-30}),
        ("elu", {"alpha": -0.5}),
    ],
)
def test_numbers_of_all_kinds(activation, tmp_path):
    model = policy((4,), (5,), 2, activations=activation)
    with predictor(tmp_path / "package", model, BuildOptions(nonfinite="propagate"), plain=True) as module:
        assert module.predict(observations(model, 20))[0].shape == (20,)


def misfits() -> dict[str, Model]:
    """
    What no frontend makes: inputs and outputs that do not fit the spaces.
    """
    discrete, box = policy(), policy(head="clip")
    assert discrete.policy is not None
    space = Box(DType.FLOAT32, np.zeros((5,), np.float32), np.ones((5,), np.float32))
    double = policy(head="clip", bounds="float64")
    choosing = policies.observing(Discrete(7))
    assert choosing.policy is not None
    return {
        "no scores": replace(discrete, outputs=discrete.outputs[:1]),
        "no action": replace(discrete, outputs=discrete.outputs[1:]),
        "another observation": replace(discrete, policy=replace(discrete.policy, observation_space=space)),
        "another action": replace(box, policy=replace(discrete.policy, action_space=space)),
        "Discrete with a real action": replace(box, policy=discrete.policy),
        "Box with a choice": replace(discrete, policy=box.policy),
        "float64 scores": replace(double, outputs=(double.outputs[0], Output("s", double.outputs[0].tensor, "scores"))),
        "scores that are a choice": replace(
            discrete, outputs=(discrete.outputs[0], Output("s", discrete.outputs[0].tensor, "scores"))
        ),
        "more choices than the network knows": replace(
            choosing, policy=replace(choosing.policy, observation_space=Discrete(9))
        ),
        "MultiBinary": replace(discrete, policy=replace(discrete.policy, action_space=MultiBinary((2,)))),
    }


@pytest.mark.parametrize("case", misfits())
def test_policies_that_contradict_themselves_are_refused(case):
    model = misfits()[case]
    with pytest.raises(PolicycError, match=r"agent\.zip"):
        texts(model)


PACKAGES = {
    "cartpole_like": (policy((4,), (64, 64), 2, head="softmax"), BuildOptions()),
    "box_rescaled_float64": (
        policy((3, 2), (33,), 6, head="rescale", bounds="float64", action_shape=(2, 3)),
        BuildOptions(lanes=8),
    ),
    "box_clipped": (policy((5,), (300,), 40, head="clip", kind="TD3Policy"), BuildOptions(lanes=4)),
    "an_image": (
        policy((1, 30, 30), (500, 17), 3, image=True, activations="mish"),
        BuildOptions(nonfinite="propagate"),
    ),
    "no_layers": (policy((7,), (), 3, activations=""), BuildOptions(lanes=1)),
    "every_activation": (
        policy(
            (5,),
            (7,) * 23,
            3,
            activations=[
                *(op.name for op in ACTIVATIONS if op.name not in ("divide", "threshold")),
                *("softmax", "log_softmax"),
                ("threshold", {"threshold": 0.5, "value": float("-inf")}),
                ("gelu", {"approximate": "tanh"}),
            ],
        ),
        BuildOptions(),
    ),
    "hostile_" + "x" * 92: (named((*HOSTILE[2:12], *MEANINGFUL), file='"""\n{{ x }}'), BuildOptions()),
    "heap": (policy((20_000,), (16,), 2), BuildOptions()),
    "dict_with_value": (policies.observing(policies.PARTS, policies.NARROW), BuildOptions(with_value=True)),
    "dict_of_one_lane": (policies.observing(policies.PARTS, MultiDiscrete((2, 3))), BuildOptions(lanes=1)),
    "bits": (policies.observing(MultiBinary((2, 3)), MultiBinary((4,))), BuildOptions(lanes=4)),
    "masked": (policies.masked(), BuildOptions()),
    "masked_propagating": (policies.masked(Discrete(5)), BuildOptions(nonfinite="propagate")),
    "recurrent": (policies.recurrent(), BuildOptions(lanes=8)),
    "recurrent_choice": (policies.recurrent(1, lambda: Discrete(3)), BuildOptions()),
    "normalised": (policies.normalised(), BuildOptions()),
}  # fmt: skip


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    for name, (model, options) in PACKAGES.items():
        write(folder / name, model, options)
    return folder


def tool(folder: Path, *arguments: str) -> None:
    found = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=folder)
    assert found.returncode == 0, found.stdout + found.stderr


def test_packages_are_linted_and_formatted(packages):
    settings = ROOT / "pyproject.toml"
    tool(packages, "ruff", "check", "--no-cache", "--config", str(settings), ".")
    tool(packages, "ruff", "format", "--no-cache", "--check", "--isolated", "--line-length", "120", ".")


@pytest.mark.slow
def test_packages_are_typed(packages, mypy_cache):
    settings = str(ROOT / "pyproject.toml")
    tool(packages, "mypy", "--config-file", settings, "--cache-dir", str(mypy_cache), *PACKAGES)


@pytest.mark.parametrize("lanes", LANES)
def test_rendering_is_reproducible(lanes):
    model = run_passes(policy((7,), (33, 5), 3), BuildOptions(lanes=lanes))
    encoded = modelfile.encode(model)
    first, second = (codegen.render(model, encoded, BuildOptions(lanes=lanes), "agent") for _ in range(2))
    assert first == second
    assert tuple(first) == PACKAGE


def test_only_needed_words_and_functions_are_there():
    kernels = texts(policy(activations="relu"))["kernels.py"]
    assert "def relu(" in kernels
    assert "def tanh(" not in kernels
    kernels = texts(policy(activations="mish"))["kernels.py"]
    assert [name for name in ("exp", "log1p_exp", "tanh", "mish") if f"def {name}(" in kernels] == [
        *("exp", "log1p_exp", "tanh", "mish")
    ]
    assert kernels.index("def exp(") < kernels.index("def log1p_exp(") < kernels.index("def mish(")
    assert "expm1" not in kernels
