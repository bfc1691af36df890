"""
Hypothesis strategies for what the compiler works on: legal models, their parts, and inputs to run them on.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from compiler.ir import (
    BATCH,
    ROLES,
    Attribute,
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
    Space,
    State,
)
from compiler.ops import OPS, Op
from compiler.ops.builder import GraphBuilder
from compiler.ops.dense import COLUMNS, ROWS_LAYOUT

NASTY = (
    "",
    "\0",
    "a\0b",
    "\n",
    "'\"\\",
    "{{ x }}",
    "\u2028",
    "\ufffe",
    "\U0010ffff",
    "import",
    "e\u0301",
    "\u00e9",
    "x:2",
)
ACTIVATIONS = tuple(op for op in OPS.values() if op.elementwise)
SPECIAL = (np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45, 3e38)


def texts() -> st.SearchStrategy[str]:
    """
    Names as a checkpoint may have them: everything but lone surrogates.
    """
    return st.sampled_from(NASTY) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def shapes(most: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """
    Shapes of small arrays, scalars included.
    """
    return st.lists(st.integers(1, 4), max_size=most).map(tuple)


@st.composite
def arrays(draw: st.DrawFn, dtype: DType, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """
    Arrays of any bits: floats have NaN with any payload, infinities and subnormal numbers.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    count = int(np.prod(shape, dtype=np.int64)) * dtype.numpy.itemsize
    return np.frombuffer(rng.bytes(count), dtype.numpy).reshape(shape)


@st.composite
def weights(draw: st.DrawFn, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """
    float32 arrays as layers have them, with a special value here and there.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    result = np.asarray(rng.normal(size=shape), np.float32)
    if result.size:
        for value in draw(st.lists(st.sampled_from(SPECIAL), max_size=3)):
            result.flat[draw(st.integers(0, result.size - 1))] = np.float32(value)
    return result


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """
    Box spaces of any dtype, with any bounds.
    """
    dtype, shape = draw(st.sampled_from(DType)), draw(shapes(3))
    return Box(dtype, draw(arrays(dtype, shape)), draw(arrays(dtype, shape)))


INT64 = st.integers(-(2**63), 2**63 - 1)
CHOICES = st.integers(1, 1 << 20)


@st.composite
def multi_discretes(draw: st.DrawFn) -> MultiDiscrete:
    """
    MultiDiscrete spaces, with and without starts.
    """
    nvec = draw(st.lists(CHOICES, min_size=1, max_size=4))
    start = draw(st.just([]) | st.lists(INT64, min_size=len(nvec), max_size=len(nvec)))
    return MultiDiscrete(tuple(nvec), tuple(start))


SIMPLE_SPACES = boxes() | st.builds(Discrete, CHOICES, INT64) | multi_discretes() | st.builds(MultiBinary, shapes())


def _dicts(inner: st.SearchStrategy[Space]) -> st.SearchStrategy[Space]:
    parts = st.lists(st.tuples(texts(), inner), max_size=3, unique_by=lambda part: part[0])
    return parts.map(lambda found: Dict(tuple(found)))


def spaces() -> st.SearchStrategy[Space]:
    """
    All kinds of spaces, Dict in Dict included.
    """
    return st.recursive(SIMPLE_SPACES, _dicts, max_leaves=4)


def origins() -> st.SearchStrategy[Origin]:
    """
    Origins of any text.
    """
    versions = st.lists(st.tuples(texts(), texts()), max_size=3).map(tuple)
    return st.builds(Origin, texts(), texts(), texts(), versions, st.lists(texts(), max_size=3).map(tuple))


class _Names:
    """
    Draws names that no tensor of the graph has yet.
    """

    def __init__(self, draw: st.DrawFn, builder: GraphBuilder) -> None:
        self.draw = draw
        self.builder = builder

    def __call__(self) -> str:
        name = self.draw(texts())
        return next(free for free in self._variants(name) if free not in self.builder.tensors)

    @staticmethod
    def _variants(name: str) -> Iterator[str]:
        return itertools.chain([name], (f"{name}.{number}" for number in itertools.count()))


def _attributes(draw: st.DrawFn, op: Op) -> dict[str, Attribute]:
    """
    Values for some of an op's attributes, and for all that have no default.
    """
    found: dict[str, Attribute] = {}
    for key, declared in op.attributes.items():
        kind = declared if isinstance(declared, type) else type(declared)
        if kind is float and (isinstance(declared, type) or draw(st.booleans())):
            found[key] = draw(st.floats())
        elif key == "approximate":
            found[key] = draw(st.sampled_from(["none", "tanh"]))
    return found


LAYERS = ("linear", "columns", "rows", "activation", "add", "concat", "affine", "prelu", "batch_norm")


def _layer(draw: st.DrawFn, builder: GraphBuilder, names: _Names, source: str) -> str:
    """
    Adds one layer to a (batch, features) tensor.
    """
    features = builder.tensors[source].elements
    kind, outputs = draw(st.sampled_from(LAYERS)), draw(st.integers(1, 5))
    activation = draw(st.sampled_from(ACTIVATIONS))
    attributes = _attributes(draw, activation)
    if kind == "activation":
        return builder.add(activation.name, [source], draw(texts()), **attributes)

    def constant(*shape: int) -> str:
        return builder.constant(names(), draw(weights(shape)))

    if kind == "linear":
        return builder.add("linear", [source, constant(outputs, features), constant(outputs)], draw(texts()))
    if kind == "add":
        return builder.add("add", [source, source], draw(texts()))
    if kind == "concat":
        return builder.add("concat", [source, *draw(st.lists(st.just(source), max_size=1))], draw(texts()))
    if kind == "affine":
        return builder.add("affine", [source, *(constant(features) for _ in range(3))], draw(texts()))
    if kind == "prelu":
        return builder.add("prelu", [source, constant(draw(st.sampled_from([1, features])))], draw(texts()))
    if kind == "batch_norm":
        variance = np.abs(draw(weights((features,)))) + np.float32(0.25)
        arrays = [constant(features), builder.constant(names(), variance), constant(features), constant(features)]
        return builder.add("batch_norm", [source, *arrays], draw(texts()), epsilon=1e-3)
    if draw(st.booleans()):
        attributes = {"outputs": outputs, "activation": activation.name, **activation.complete(attributes)}
    else:
        attributes = {"outputs": outputs}
    if kind == "rows":
        parameters = [constant(outputs, features + draw(st.integers(0, 3))), constant(outputs)]
        return builder.add("dense", [source, *parameters], draw(texts()), layout=ROWS_LAYOUT, **attributes)
    width = draw(st.sampled_from([1, 4, 8]))
    blocks = -(-outputs // width)
    parameters = [constant(blocks, features, width), constant(blocks * width)]
    return builder.add("dense", [source, *parameters], draw(texts()), layout=COLUMNS, **attributes)


HEADS = (
    *("none", "softmax", "log_softmax", "argmax", "clip", "rescale"),
    *("quantile_mean", "bernoulli_mode", "masked"),
)


def _one_hots(draw: st.DrawFn, builder: GraphBuilder, names: _Names, source: str) -> str:
    """
    Adds a discrete input, as one-hot vectors alone or beside other features.
    """
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple))
    shape = (BATCH,) if len(sizes) == 1 and draw(st.booleans()) else (BATCH, len(sizes))
    given = builder.input(names(), DType.INT64, shape)
    bits = builder.add("one_hot", [given], draw(texts()), sizes=sizes)
    if draw(st.booleans()):
        bits = builder.add("flatten", [bits], draw(texts()))
    if draw(st.booleans()):
        bits = builder.add("concat", draw(st.permutations([bits, source])), draw(texts()))
    return bits


def _head(draw: st.DrawFn, builder: GraphBuilder, names: _Names, source: str) -> str:
    """
    Adds what makes an action of a network's result, or nothing.
    """
    kind = draw(st.sampled_from(HEADS))
    if kind == "none":
        return source
    features = builder.tensors[source].elements
    if kind == "quantile_mean":
        quantiles = draw(st.sampled_from([size for size in range(1, features + 1) if features % size == 0]))
        return builder.add(kind, [source], draw(texts()), quantiles=quantiles)
    if kind == "bernoulli_mode":
        return builder.add(kind, [source], draw(texts()))
    sizes = draw(st.sampled_from([(), (features,), (1,) * features, (1, features - 1)[: 1 + (features > 1)]]))
    if kind == "masked":
        masks = builder.input(names(), DType.BOOL, (BATCH, features))
        for op, rest in (("log_softmax", []), ("mask", [masks]), ("softmax", []), ("argmax", [])):
            attributes = {} if op == "mask" else {"sizes": sizes if sum(sizes) == features else ()}
            source = builder.add(op, [source, *rest], draw(texts()), **attributes)
        return source
    if kind in ("clip", "rescale"):
        dtype = draw(st.sampled_from([DType.FLOAT32, DType.FLOAT64]))
        bounds = [draw(weights((features,))).astype(dtype.numpy) for _ in range(2)]
        return builder.add(kind, [source, *(builder.constant(names(), bound) for bound in bounds)], draw(texts()))
    chosen = {"sizes": sizes} if sum(sizes) == features else {}
    return builder.add(kind, [source], draw(texts()), **chosen, **_attributes(draw, OPS[kind]))


@st.composite
def models(draw: st.DrawFn, *, stateful: bool = False) -> Model:
    """
    Legal models that `compiler.ops.reference.evaluate` can run on `inputs_of`: networks of random layers and heads.

    Args:
        draw: given by Hypothesis.
        stateful: whether there may be recurrent states besides.
    """
    builder = GraphBuilder()
    names = _Names(draw, builder)
    results = []
    for _ in range(draw(st.integers(1, 2))):
        given = builder.input(names(), DType.FLOAT32, (BATCH, *draw(st.lists(st.integers(1, 4), max_size=3))))
        result = builder.add("flatten", [given], draw(texts()))
        if draw(st.booleans()):
            result = _one_hots(draw, builder, names, result)
        for _ in range(draw(st.integers(0, 3))):
            result = _layer(draw, builder, names, result)
        results.append(_head(draw, builder, names, result))
    # What policies do not have today, and a graph may: other dtypes, constants that nobody reads.
    for dtype in draw(st.lists(st.sampled_from(DType), max_size=2)):
        builder.constant(names(), draw(arrays(dtype, draw(shapes()))))
        results.append(builder.add("flatten", [builder.input(names(), dtype, (BATCH, 2, 3))], draw(texts())))
    computed = {name for node in builder.nodes for name in node.outputs}
    inputs = [name for name, tensor in builder.tensors.items() if tensor.data is None and name not in computed]
    states = []
    if stateful and draw(st.booleans()):
        initial = builder.constant(names(), draw(weights((2,))))
        given = builder.input(names(), DType.FLOAT32, (BATCH, 2))
        states.append(State(draw(texts()), given, builder.add("tanh", [given], draw(texts())), initial))
    labels = draw(st.lists(texts(), min_size=len(results), max_size=len(results), unique=True))
    outputs = [
        Output(label, result, draw(st.sampled_from(ROLES))) for label, result in zip(labels, results, strict=True)
    ]
    return Model(
        name=draw(texts()),
        nodes=tuple(builder.nodes),
        tensors=builder.tensors,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        origin=draw(origins()),
        states=tuple(states),
        policy=draw(st.none() | st.builds(Policy, texts(), spaces(), spaces())),
    )


def inputs_of(model: Model, batch: int = 3, seed: int = 0) -> dict[str, NDArray[np.generic]]:
    """
    Random values for the inputs and states of a model: choices that there are for one-hot vectors and embeddings.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[np.generic]] = {}
    choices: dict[str, Any] = {}
    for node in model.nodes:
        if node.op in ("one_hot", "lookup"):
            choices[node.inputs[0]] = node.attributes["sizes"]
        elif node.op == "embedding":
            choices[node.inputs[0]] = model.tensors[node.inputs[1]].shape[:1] * model.tensors[node.inputs[0]].elements
    for name in (*model.inputs, *(state.input for state in model.states)):
        tensor = model.tensors[name]
        shape = tuple(batch if isinstance(size, str) else size for size in tensor.shape)
        values = rng.normal(size=shape) * 2
        if name in choices:
            found[name] = rng.integers(0, np.reshape(choices[name], tensor.fixed_shape), shape)
        elif tensor.dtype is DType.BOOL:
            found[name] = values > 0
        else:
            found[name] = np.asarray(values).astype(tensor.dtype.numpy)
    return found
