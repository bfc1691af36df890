"""
Compares a predictor of a general model with its source: the program itself where it is there, else the reference.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from compiler.errors import VerificationError, quote
from compiler.frontends.source import Ask
from compiler.ir import DType, Model
from compiler.ops import OPS, Array
from compiler.ops.blocks import BLOCK, LEAST, together
from compiler.ops.indices import is_in_an_index, whole_numbers
from compiler.ops.lengths import at_length, length_of, samples
from compiler.ops.reference import evaluate
from compiler.options import BuildOptions
from compiler.tolerances import SCORE_FLOOR, SCORE_RELATIVE
from compiler.verify.reference import known

BATCHES = (1, 2, 5)
BLOCKS = (LEAST, BLOCK + LEAST - 1)
"""What is asked as well where batches are computed in blocks: one that is not full, and one with more than it takes."""
STEPS = 8
"""Steps of an episode that is compared."""
CHOICES = 2
"""Whole numbers that are no index are random ones below this."""
HEAVY = 200_000_000
"""Multiply-adds of one observation from which on only two are compared: NumPy takes seconds for each."""
ELEMENTS = 1 << 22
"""Elements of all inputs together that are asked for, beyond which fewer batches are."""


class SourceDiffersError(VerificationError):
    """
    The operations, computed as the model file says, give something else than the source program.
    """


class GeneralPredictor(Protocol):
    """
    The face of a predictor that is no policy's.
    """

    def predict(self, *inputs: Any, **state: Any) -> Any:
        """
        All outputs for one observation or a batch.
        """


def compare_general(
    source: Model, compiled: Model, predictor: GeneralPredictor, options: BuildOptions, seed: int, ask: Ask | None
) -> tuple[int, float, int]:
    """
    Compares a predictor, in batches of several sizes and alone.

    Args:
        source: the model as the frontend read it.
        compiled: the model after the passes.
        predictor: the imported package.
        options: those it was built with.
        seed: of the random inputs.
        ask: the source program, if it is at hand.

    Returns:
        How many observations were compared, the worst error relative to the largest value of its output, and how many
        observations cannot be had more exactly in float32.

    Raises:
        VerificationError: an output is not what it must be.
    """
    rng = np.random.default_rng(seed)
    count, worst, hard = 0, 0.0, 0
    for model, size, where in _questions(source, in_blocks=bool(together(compiled))):
        inputs = [_random(model, name, size, rng) for name in given_of(model)]
        expected = _expected(model, inputs, ask, where)
        for how, found in _answers(model, predictor, inputs):
            error, ill = _compare(model, inputs, found, expected, f"{how} {size}{where}", seed)
            worst, hard = max(worst, error), hard + ill
        count += size
    _check_refusals(source, predictor, options, rng)
    if source.states:
        _check_episode(source, predictor, rng)
    return count, worst, hard


def _questions(source: Model, *, in_blocks: bool) -> Iterator[tuple[Model, int, str]]:
    """
    The sizes of the batches, each with the model, of one length where it has one, and the length for messages.
    """
    length = length_of(source)
    if length is None:
        yield from ((source, size, "") for size in _sizes(source, in_blocks))
        return
    for each in samples(length):
        model = at_length(source, each)
        sizes = _sizes(model, in_blocks) if each == length.most else (LEAST,) if in_blocks else (2,)
        yield from ((model, size, f", {length.name} {each}") for size in sizes)


def _sizes(model: Model, in_blocks: bool) -> Sequence[int]:
    work = sum(OPS[n.op].multiply_adds([model.tensors[i] for i in n.inputs], n.attributes) for n in model.nodes)
    if work > HEAVY:
        return (2, LEAST) if in_blocks else (2,)
    elements = sum(model.tensors[name].elements for name in model.inputs)
    most = max(1, ELEMENTS // max(elements, 1))
    return [size for size in sorted({*BATCHES, *(BLOCKS if in_blocks else ())}) if size <= most]


def _random(model: Model, name: str, size: int, rng: np.random.Generator) -> Array:
    tensor = model.tensors[name]
    shape = (size, *tensor.fixed_shape)
    if tensor.dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    if tensor.dtype in (DType.INT64, DType.UINT8):
        least, most = whole_numbers(model, name)
        unknown = least < 0 or (tensor.dtype is DType.UINT8 and is_in_an_index(model, name))
        return rng.integers(0, CHOICES if unknown else most + 1, shape).astype(tensor.dtype.numpy)
    if _holds_whole_numbers(model, name):
        return rng.integers(0, CHOICES, shape).astype(np.float32)
    return rng.normal(size=shape).astype(np.float32)


def _holds_whole_numbers(model: Model, name: str) -> bool:
    """
    Whether floats are only read as whole numbers or bools, as counters and flags that are states are.
    """
    readers = model.consumers(name)
    return bool(readers) and all(
        node.op == "cast" and model.tensors[node.outputs[0]].dtype is not DType.FLOAT32 for node in readers
    )


def given_of(model: Model) -> list[str]:
    """
    The tensors of the inputs, and of the states before a step.
    """
    return [*model.inputs, *(state.input for state in model.states)]


def results_of(model: Model) -> list[tuple[str, str]]:
    """
    The names and tensors of the outputs, and of the states after a step.
    """
    outputs = [(output.name, output.tensor) for output in model.outputs]
    return [*outputs, *((state.name, state.output) for state in model.states)]


def _listed(found: Any) -> list[Array]:
    return list(found) if isinstance(found, tuple) else [found]


def random_inputs(model: Model, size: int, seed: int = 0) -> list[Array]:
    """
    Random arrays for all inputs, with a batch of this size in front.
    """
    rng = np.random.default_rng(seed)
    return [_random(model, name, size, rng) for name in model.inputs]


def _expected(model: Model, inputs: list[Array], ask: Ask | None, where: str) -> list[Array]:
    wanted = [tensor for _, tensor in results_of(model)]
    values = evaluate(model, dict(zip(given_of(model), inputs, strict=True)), wanted)
    reference = [values[tensor] for tensor in wanted]
    if ask is None:
        return reference
    right = [np.asarray(array) for array in ask(inputs)]
    for (name, _), own, theirs in zip(results_of(model), reference, right, strict=True):
        if _error(own, theirs).max(initial=0) > 1:
            raise SourceDiffersError(
                model.origin.file,
                f"output {quote(name)}{where}: the source gives {_shown(theirs)}, the operations as policyc "
                f"understands them give {_shown(own)}: this is a fault of policyc, or observations of a batch depend "
                "on each other" + (", or the source computes something else at some lengths" if where else ""),
            )
    return right


def _answers(model: Model, predictor: GeneralPredictor, inputs: list[Array]) -> Iterator[tuple[str, list[Array]]]:
    """
    What the predictor gives for the whole batch, and for each observation alone.
    """

    def asked(arguments: list[Array]) -> list[Array]:
        count = len(model.inputs)
        if not model.states:
            return _listed(predictor.predict(*arguments))
        found, state = predictor.predict(*arguments[:count], state=tuple(arguments[count:]))
        return [*_listed(found), *state]

    if model.batched:
        yield "in a batch of", asked(inputs)
    alone = [asked([array[row] for array in inputs]) for row in range(len(inputs[0]))]
    yield "alone, one of", [np.stack(arrays) for arrays in zip(*alone, strict=True)]


def _compare(
    model: Model, inputs: list[Array], found: list[Array], expected: list[Array], how: str, seed: int
) -> tuple[float, int]:
    """
    The worst error of a batch, and how many observations cannot be had more exactly.
    """
    worst, hard = 0.0, 0
    for (name, tensor), own, right in zip(results_of(model), found, expected, strict=True):
        if own.shape != right.shape:
            raise _wrong(model, name, how, f"has shape {own.shape}, not {right.shape}")
        errors = _error(own, right)
        bad = errors > 1
        if bad.any():
            slack = known(model, dict(zip(given_of(model), inputs, strict=True)), seed, [tensor])
            limit = slack.limit(tensor)
            with np.errstate(invalid="ignore"):
                bad &= ~(np.abs(own.astype(np.float64) - slack.values[tensor]) <= 2 * limit).reshape(len(own), -1).all(
                    axis=1
                )
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise _wrong(model, name, how, f"gives {_shown(own[row])}, its source {_shown(right[row])}")
        hard += int((errors > 1).sum())
        worst = max(worst, float(errors[errors <= 1].max(initial=0)) * SCORE_RELATIVE)
    return worst, hard


def _error(own: Array, right: Array) -> Array:
    """
    For each observation the worst error over the tolerance; whole numbers and NaN must be the same.
    """
    own, right = np.asarray(own), np.asarray(right)
    if own.shape != right.shape:
        return np.full(len(right), np.inf)
    rows = len(right)
    if right.dtype.kind != "f":
        return np.where((own != right).reshape(rows, -1).any(axis=1), np.inf, 0.0)
    a, b = own.astype(np.float64).reshape(rows, -1), right.astype(np.float64).reshape(rows, -1)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    scale = np.maximum(np.where(np.isfinite(b), np.abs(b), 0).max(axis=1, initial=0), SCORE_FLOOR)
    with np.errstate(invalid="ignore"):
        error = np.abs(a - b) / (SCORE_RELATIVE * scale[:, None])
    result: Array = np.where(same, 0.0, np.where(np.isnan(error), np.inf, error)).max(axis=1, initial=0)
    return result


def _check_refusals(model: Model, predictor: GeneralPredictor, options: BuildOptions, rng: np.random.Generator) -> None:
    """
    NaN in an input is refused where it should be; so are numbers that are no index, and a sequence that is too long.
    """
    length = length_of(model)
    if length is not None:
        long = at_length(model, length.most + 1)
        try:
            predictor.predict(*(_random(long, name, 1, rng)[0] for name in long.inputs))
        except ValueError:
            pass
        else:
            how = f"with {length.name} {length.most + 1}"
            raise _wrong(model, model.inputs[0], how, "was taken, and must be refused")
    inputs = [_random(model, name, 1, rng)[0] for name in model.inputs]
    for number, array in enumerate(inputs):
        wrong = _refused(model, model.inputs[number], array, options)
        if wrong is None or not array.size:
            continue
        whole = array.dtype.kind in "iu"  # bytes could not hold the wrong one
        broken = np.array(array, np.int64 if whole else None)  # of a single number NumPy makes no array by itself
        broken.reshape(-1)[-1] = wrong
        try:
            predictor.predict(*inputs[:number], broken, *inputs[number + 1 :])
        except ValueError:
            continue
        raise _wrong(model, model.inputs[number], f"with {wrong}", "was taken, and must be refused")


def _refused(model: Model, name: str, array: Array, options: BuildOptions) -> float | int | None:
    """
    A value that an input must not have, if there is one.
    """
    if array.dtype.kind in "iu":
        return whole_numbers(model, name)[1] + 1
    return np.nan if array.dtype == np.float32 and options.nonfinite == "raise" else None


def _check_episode(model: Model, predictor: Any, rng: np.random.Generator) -> None:
    """
    Several steps with the state that is kept give what steps with the state passed on give.
    """
    episode, state = predictor.Episode(), None
    for step in range(STEPS):
        inputs = [_random(model, name, 1, rng)[0] for name in model.inputs]
        found, state = predictor.predict(*inputs, state=state)
        pairs = zip(_listed(found), _listed(episode.predict(*inputs)), strict=True)
        if not all(np.array_equal(one, other, equal_nan=True) for one, other in pairs):
            raise _wrong(model, model.outputs[0].name, f"in step {step} of an episode", "differs with the state kept")


def _wrong(model: Model, name: str, how: str, text: str) -> VerificationError:
    return VerificationError(
        model.origin.file, f"the predictor does not give what its source gives: {quote(name)}, asked {how}: {text}"
    )


def _shown(array: Array) -> str:
    text = np.array2string(np.asarray(array).reshape(-1)[:6], precision=6, separator=", ")
    return text if array.size <= 6 else f"{text[:-1]}, ...]"
