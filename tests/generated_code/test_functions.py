"""
The words of `simd.py` and the functions of vectors: near NumPy's float64, and the same, compiled or as plain Python.
"""

import importlib
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType

import numpy as np
import pytest

from compiler.ops import OPS
from compiler.options import LANES
from compiler.resources import resource
from tests.generated_code.nests import words
from tests.models import PLAIN
from tests.thorough import chosen

ERF = np.vectorize(math.erf, otypes=[np.float64])
ROW = {name: op.reference for name, op in OPS.items()}


@dataclass(frozen=True)
class Function:
    """
    A function of vectors: the arguments after x, its definition in float64, and how near it must be where.
    """

    arguments: tuple[float, ...]
    reference: Callable[..., np.ndarray]
    ulps: float
    absolute: float = 2e-36
    """An error below this is allowed as well; nothing smaller matters beside a bias, and float32 ends at 1e-38."""
    low: float = -np.inf
    high: float = np.inf


FUNCTIONS = {
    "atan": Function((), np.arctan, 3),
    "celu": Function((1.5,), ROW["celu"], 3),
    "cos": Function((), np.cos, 2, 1.5e-7, low=-1e6, high=1e6),
    "divide": Function((255.0,), ROW["divide"], 0.5),
    "elu": Function((0.75,), ROW["elu"], 3),
    "erf": Function((), ERF, 6, 5e-7),
    "exp": Function((), np.exp, 1, low=-87, high=88),
    "exp_minus_one": Function((), np.expm1, 2, high=88),
    "expm1": Function((), np.expm1, 2, high=88),
    "gelu_none": Function((), lambda x: ROW["gelu"](x, "none"), 4, 1.5e-6),
    "gelu_tanh": Function((), lambda x: ROW["gelu"](x, "tanh"), 3, 1e-6),
    "hardshrink": Function((0.5,), ROW["hardshrink"], 0),
    "hardsigmoid": Function((), ROW["hardsigmoid"], 1, 6e-8),
    "hardswish": Function((), ROW["hardswish"], 2, 2e-7, high=5e37),  # then x * 6 overflows, as in PyTorch
    "hardtanh": Function((-1.25, 2.0), ROW["hardtanh"], 0),
    "leaky_relu": Function((0.125,), ROW["leaky_relu"], 0),
    "log": Function((), np.log, 3, 2e-7, low=1.2e-38),
    "log1p": Function((), np.log1p, 4),
    "log1p_exp": Function((), lambda x: np.log1p(np.exp(-np.abs(x))), 4),
    "logarithm": Function((), np.log, 3),
    "log_sigmoid": Function((), ROW["log_sigmoid"], 4),
    "mish": Function((), ROW["mish"], 6),
    "relu": Function((), ROW["relu"], 0),
    "round_half_even": Function((), np.rint, 0),
    "selu": Function((), ROW["selu"], 3),
    "sigmoid": Function((), ROW["sigmoid"], 3),
    "sign": Function((), ROW["sign"], 0),
    "silu": Function((), ROW["silu"], 3),
    "sin": Function((), np.sin, 2, 1.5e-7, low=-1e6, high=1e6),
    "sine_of": Function((2.0,), lambda x, quarter: -np.sin(x), 2, 1.5e-7, low=-1e6, high=1e6),
    "softplus": Function((2.0, 20.0), ROW["softplus"], 4),
    "softshrink": Function((0.5,), ROW["softshrink"], 0.5),
    "softsign": Function((), ROW["softsign"], 2),
    "tanh": Function((), np.tanh, 5),
    "tanhshrink": Function((), ROW["tanhshrink"], 1, 3e-7),
    "threshold": Function((0.25, 20.0), ROW["threshold"], 0),
    "truncate": Function((), np.trunc, 0),
}
PAIRS = {"floor_divide", "maximum", "minimum", "power", "remainder"}
"""Functions of two vectors: see test_nests.py."""

HARNESS = """
import numpy as np

from .jit import entry, inline
from .lowering import BUFFER
from .simd import *
{functions}

@entry(BUFFER, BUFFER)
def apply(inputs, outputs):
    source, target = address(inputs), address(outputs)
    for i in range(0, floats(inputs), LANES):
        x = load(source, i)
        place = i
{applied}
    return 0

@entry(BUFFER, BUFFER, BUFFER, BUFFER, BUFFER)
def speak(first, second, third, counts, outputs):
    target = address(outputs)
    place = 0
    for i in range(0, floats(first), LANES):
        a, b, c = load(address(first), i), load(address(second), i), load(address(third), i)
        scalar = load_scalar(address(first), i)
        count = int(load_scalar(address(counts), i))
{spoken}
        for value in (total(a), load_scalar(advance(address(first), i), LANES - 1)):
            store_scalar(target, place, value)
            place += 1
        store_scalar(target, place, np.float32(1) if is_finite(a) else np.float32(0))
        place += 1
    return 0
"""
WORDS = (
    "a",
    "splat(scalar)",
    "splat(3)",
    "splat(0.1)",
    "fma(a, b, c)",
    "absolute(a)",
    "a + b",
    "a - b",
    "a * b",
    "a / b",
    "-a",
    "a + scalar",
    "scalar - a",
    "a * 0.1",
    "1.0 / a",
    "a / 3",
    "select(a < b, a, b)",
    "select(a > b, a, b)",
    "select(a <= b, a, c)",
    "select(a == b, a, c)",
    "select(a < 0.1, a, c)",
    "select(a == a, a, c)",
    "select(0.1 < a, a, c)",
    "power_of_two(splat(np.float32(count - 126)))",
    "exponent(absolute(a))",
    "mantissa(absolute(a))",
    "head(a, count % (LANES + 1))",
    "put(a, count % LANES, scalar)",
    "put(a, LANES - 1, np.float32(7))",
    "load_head(address(first), i, count % (LANES + 1))",
    "splat(np.float32(bounded(scalar, 7)))",
    "sqrt(absolute(a))",
    "floor(a)",
    "splat(get(a, count % LANES))",
    "splat(highest(a))",
    "every_second(a, b)",
    "select(between(count % 5, count % (LANES + 1)), a, b)",
    "load_span(address(first), i, count % LANES, count % (LANES + 1))",
    "load_spaced(address(first), i * 0 + 64, 3, count % 3, count % (LANES + 1))",
    "load_spaced(address(first), i * 0 + 64, -2, 0, LANES)",
    "load_span(address(first), i * 0 + 64, count % 3 - 1, LANES + 2)",
)


def harness() -> str:
    texts = (path.read_text("utf-8").strip() for path in sorted(resource("templates").joinpath("functions").iterdir()))
    first = ("exp", "expm1", "log", "logarithm", "erf", "tanh", "log1p_exp", "sine_of")  # what others call
    functions = sorted(texts, key=lambda text: text.split("def ")[1].split("(")[0] not in first)
    functions.sort(key=lambda text: "exp(-absolute" in text)  # log1p_exp after exp
    applied, spoken = [], []
    for name, function in FUNCTIONS.items():
        call = ", ".join(["x", *map(repr, function.arguments)])
        applied += [f"        store(target, place, {name}({call}))", "        place += floats(inputs)"]
    for word in WORDS:
        spoken += [f"        store(target, place, {word})", "        place += LANES"]
    return HARNESS.format(
        functions="\n\n".join(["", *functions, ""]), applied="\n".join(applied), spoken="\n".join(spoken)
    )


@pytest.fixture(scope="module", params=chosen(LANES, 1, 16))
def lanes(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def modules(lanes: int, tmp_path_factory) -> Iterator[tuple[ModuleType, ModuleType]]:
    """
    The harness compiled, and as plain Python.
    """
    files = words(lanes)
    folder = tmp_path_factory.mktemp("words")
    names = [f"compiled_words_{lanes}", f"plain_words_{lanes}"]
    for name in names:
        package = folder / name
        package.mkdir()
        for file in ("simd.py", "lowering.py", "jit.py"):
            (package / file).write_text(files[file])
        (package / "__init__.py").write_text("")
        (package / "harness.py").write_text(harness())
    (folder / names[1] / "jit.py").write_text(PLAIN)
    sys.path.insert(0, str(folder))
    try:
        compiled, plain = (importlib.import_module(f"{name}.harness") for name in names)
        yield compiled, plain
    finally:
        sys.path.remove(str(folder))
        for key in [key for key in sys.modules if key.split(".")[0] in names]:
            del sys.modules[key]


def grid(count: int) -> np.ndarray:
    """
    Values of every magnitude and sign, more of them where functions bend, and the special ones.
    """
    bits = np.linspace(0, 2**32 - 1, count).astype(np.uint32)  # NaN included
    bent = np.linspace(-12, 12, count)
    far = np.linspace(-110, 110, count)
    turns = np.geomspace(1e3, 8.3e6, count)
    special = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        1e-45,
        -1e-45,
        3.4e38,
        -3.4e38,
        88,
        -87,
        89,
        -88,
        4,
        -4,
        8,
        -8,
        20,
        0.5,
    ]
    parts = (bent, far, turns, -turns, special)
    values = np.concatenate([bits.view(np.float32), *(np.asarray(part, np.float32) for part in parts)])
    return np.resize(values, -(-values.size // 16) * 16)


def apply(module: ModuleType, x: np.ndarray) -> dict[str, np.ndarray]:
    found = np.full((len(FUNCTIONS), x.size), np.nan, np.float32)
    with np.errstate(all="ignore"):
        module.apply(x, found.reshape(-1))
    return dict(zip(FUNCTIONS, found, strict=True))


def speak(module: ModuleType, operands: tuple[np.ndarray, ...], counts: np.ndarray, lanes: int) -> np.ndarray:
    """
    A row for every register: what each word gives, then the sum, the last lane, and whether all is finite.
    """
    found = np.full((counts.size // lanes, len(WORDS) * lanes + 3), np.nan, np.float32)
    with np.errstate(all="ignore"):
        module.speak(*operands, counts, found.reshape(-1))
    return found


def same(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """
    Whether values are equal bit by bit, or both NaN.
    """
    return (one.view(np.int32) == other.view(np.int32)) | (np.isnan(one) & np.isnan(other))


def test_every_function_and_word_is_tested():
    templates = resource("templates")
    assert FUNCTIONS.keys() | PAIRS == {path.name.split(".")[0] for path in templates.joinpath("functions").iterdir()}
    simd = templates.joinpath("predictor", "simd.py.jinja").read_text("utf-8")
    unspoken = {"workspace", "keep", "align", "pointer"}  # what kernels get their memory by
    unspoken |= {"doubles", "integers", "octets", "flags"}  # what entry points count their arguments by
    unspoken |= {"skip", "load_integer", "load_byte"}  # and read them by: see test_face.py
    unspoken |= {"load_double", "store_double", "store_integer"}  # the heads' kernels: see test_kernels.py
    unspoken |= {"store_head", "transpose_square"}  # those of concatenation and look-up: see test_op_kernels.py
    unspoken |= {"store_spaced"}  # those of general models: see test_nests.py
    for word in re.findall(r"^def ([a-z]\w*)", simd, re.MULTILINE):
        assert word in unspoken or f"{word}(" in harness(), word


def test_functions_are_near_their_definition(modules):
    x = grid(30_000)
    for name, found in apply(modules[0], x).items():
        function = FUNCTIONS[name]
        with np.errstate(all="ignore"):
            right = function.reference(x.astype(np.float64), *function.arguments)
            rounded = right.astype(np.float32)
            error = np.abs(found - right)
            near = error <= np.maximum(function.ulps * np.spacing(np.abs(rounded)), function.absolute)
        near |= (found == rounded) | (np.isnan(found) & np.isnan(right))
        wrong = ~near & (x >= function.low) & (x <= function.high)
        assert not wrong.any(), f"{name}({x[wrong][:5]}) gave {found[wrong][:5]}, expected {right[wrong][:5]}"


def test_sines_of_large_angles(modules):
    x = np.geomspace(1e6, 8.3e6, 16 * 2000).astype(np.float32)
    for sign in (1, -1):
        found = apply(modules[0], sign * x)
        for name, right in (("sin", np.sin), ("cos", np.cos)):
            assert np.abs(found[name] - right(sign * x.astype(np.float64))).max() < 1e-4


def test_functions_keep_nan_and_know_their_limits(modules):
    x = np.resize(np.array([np.nan, -np.inf, np.inf, -3e38, 3e38, 0, 1, -1], np.float32), 16)
    found = apply(modules[0], x)
    for name, values in found.items():
        assert np.isnan(values[0]) or name == "sign", name
    nan, infinity, large = np.nan, np.inf, float(np.float32(3e38))
    assert np.array_equal(found["exp"][1:5], [0, infinity, 0, infinity])
    assert np.array_equal(found["log"][2], infinity)
    assert np.array_equal(found["sigmoid"][1:5], [0, 1, 0, 1])
    assert np.array_equal(found["silu"][1:5], [nan, infinity, 0, large], equal_nan=True)
    assert np.array_equal(found["mish"][1:5], [nan, infinity, 0, large], equal_nan=True)
    assert np.array_equal(found["tanh"][1:5], [-1, 1, -1, 1])
    assert np.array_equal(found["sin"][1:5], [nan, nan, 0, 0], equal_nan=True)
    assert np.array_equal(found["cos"][1:5], [nan, nan, 1, 1], equal_nan=True)
    assert np.array_equal(found["gelu_none"][3:5], [0, large])
    assert np.abs(apply(modules[0], grid(30_000))["tanh"][:-1]).max(initial=0, where=~np.isnan(grid(30_000)[:-1])) == 1


def test_functions_in_plain_python_are_the_same(modules, lanes):
    compiled, plain = modules
    x = grid(max(100, 25 * lanes))
    one, other = apply(compiled, x), apply(plain, x)
    for name in FUNCTIONS:
        wrong = ~same(one[name], other[name])
        assert not wrong.any(), f"{name}({x[wrong][:5]}): {one[name][wrong][:5]} and {other[name][wrong][:5]}"


def test_words_in_plain_python_are_the_same(modules, lanes):
    rng = np.random.default_rng(lanes)
    scattered = rng.integers(0, 2**32, (3, 3200), dtype=np.uint32).view(np.float32)  # NaN, infinity, subnormal numbers
    usual = rng.normal(size=(3, 3200)).astype(np.float32)
    usual[2] = -(usual[0] * usual[1])  # what an fma does not round is all that is left
    # a * b + c lies next to the middle of two float32: float64's rounding would put it there.
    hard = np.tile(np.array([[1 + 2**-12], [1 + 2**-12], [2**-60]], np.float32), (1, 64))
    hard[2, ::2] *= -1
    operands = tuple(np.concatenate([scattered, usual, hard], axis=1))
    counts = (np.arange(operands[0].size) % 254).astype(np.float32)
    one, other = (speak(module, operands, counts, lanes) for module in modules)
    labels = [word for word in WORDS for _ in range(lanes)] + ["total(a)", "the last lane of a", "is_finite(a)"]
    wrong = np.argwhere(~same(one, other))
    assert not len(wrong), [(labels[column], one[row, column], other[row, column]) for row, column in wrong[:5]]
    assert not np.isnan(one[-64 // lanes :]).any()
    operands = tuple(operand[3200:] for operand in operands)
    exact = [Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)) for a, b, c in zip(*operands, strict=True)]
    fused = one[:, WORDS.index("fma(a, b, c)") * lanes :][:, :lanes].reshape(-1)[3200:]
    assert all(nearest(value, total) for value, total in zip(fused, exact, strict=True))


def nearest(value: np.float32, exact: Fraction) -> bool:
    """
    Whether no float32 is nearer to a number.
    """
    neighbours = [np.nextafter(value, np.float32(side)) for side in (-np.inf, np.inf)]
    distance = abs(Fraction(float(value)) - exact)
    return all(distance <= abs(Fraction(float(neighbour)) - exact) for neighbour in neighbours)
