"""
What actions are drawn from: `distribution` against the reference.
"""

from typing import Any

import numpy as np

from compiler.errors import VerificationError
from compiler.ir import ACTION_MASKS, Model
from compiler.ops import Array
from compiler.ops.choices import MASKED, segments
from compiler.ops.elementwise import sigmoid
from compiler.tolerances import LARGEST_COMPARED, SCORE_RELATIVE
from compiler.verify.answers import Answers, Expected
from compiler.verify.asking import Predictor, batch_of, show, shown, single_of
from compiler.verify.cases import Cases, choice_sizes, policy_of

MOST = 100
"""Cases that are compared: what is computed is the scores', which were compared with many more."""
VARIANCE = 1e-6
"""What SB3's gSDE adds to a variance. Source: StateDependentNoiseDistribution.proba_distribution."""


def check_distribution(source: Model, predictor: Predictor, cases: Cases, expected: Answers) -> None:
    """
    Compares what the predictor says it draws from, if it draws at all, for some cases in one batch.

    Raises:
        VerificationError: if something of it is missing or wrong.
    """
    distribution = getattr(predictor, "distribution", None)
    if policy_of(source).sampling is None or distribution is None:
        return
    rows = np.linspace(0, len(cases) - 1, min(MOST, len(cases))).astype(int)
    cases, expected = cases.only(rows), expected.only(rows)
    question = batch_of(source, cases)
    found = distribution(question.observation, **question.others)
    for name, right in _parameters(source, cases, expected).items():
        values = np.asarray(found.get(name, ()))
        if values.shape != right.values.shape:
            text = f"distribution: {name} has the shape {values.shape}, expected {right.values.shape}"
            raise VerificationError(source.origin.file, text)
        with np.errstate(all="ignore"):
            same = (values == right.values) | (np.isnan(values) & np.isnan(right.values))
            limit = np.maximum(right.tolerance * right.scale, right.slack)
            good = (same | (np.abs(values - right.values) <= limit)).reshape(len(rows), -1).all(axis=1)
        if not good.all():
            row = int(np.argmin(good))
            raise VerificationError(
                source.origin.file,
                f"distribution: {name}: found {show(values[row])}, expected {show(right.values[row])}\n"
                f"  observation ({cases.kinds[row]}): {shown(single_of(source, cases, row))}",
            )


def _parameters(source: Model, cases: Cases, expected: Answers) -> dict[str, Expected]:
    """
    What `distribution` must give, by name.
    """
    sampling = policy_of(source).sampling
    assert sampling is not None
    scores = expected.scores
    match sampling.kind:
        case "categorical":
            sizes = choice_sizes(policy_of(source).action_space, scores.values.shape[1])
            return {"probabilities": _changed(scores, _softmax(scores.values, sizes, cases.values.get(ACTION_MASKS)))}
        case "bernoulli":
            return {"probabilities": _changed(scores, sigmoid(scores.values))}
        case "epsilon_greedy":
            return {"q_values": scores}
        case "gaussian":
            return {"mean": scores, "std": _deviations(source, expected)}
        case _:
            return {"mean": scores, "std": _noise(source, expected)}


def _changed(scores: Expected, values: Array) -> Expected:
    """
    Values that change by no more than the scores do.
    """
    slack = np.broadcast_to(scores.slack.max(axis=1, keepdims=True), values.shape)
    return Expected(values, scores.scale, slack, scores.tolerance)


def _softmax(logits: Array, sizes: tuple[int, ...], masks: Array | None) -> Array:
    result = np.empty(logits.shape)
    with np.errstate(all="ignore"):
        for part in segments(logits.shape[1], sizes):
            table = logits[:, part] - logits[:, part].max(axis=1, keepdims=True)
            table = table - np.log(np.exp(table).sum(axis=1, keepdims=True))
            table = table if masks is None else np.where(masks[:, part], table, MASKED)
            raised = np.exp(table - table.max(axis=1, keepdims=True))
            result[:, part] = raised / raised.sum(axis=1, keepdims=True)
    return result


def _constant(source: Model, name: str) -> Array | None:
    tensor = next(output.tensor for output in source.outputs if output.name == name)
    data: Any = source.tensors[tensor].data
    return None if data is None else np.asarray(data, np.float64)


def _deviations(source: Model, expected: Answers) -> Expected:
    constant = _constant(source, "std")
    if constant is None:
        return expected.others["std"]
    values = np.broadcast_to(constant, expected.scores.values.shape)
    return Expected(values, np.abs(values), np.zeros(values.shape), SCORE_RELATIVE)


def _noise(source: Model, expected: Answers) -> Expected:
    """
    gSDE: the noise is a matrix times the latent features, and so its deviations are the lengths of vectors.

    Where the squares are too large for float32, SB3 itself has infinite ones: anything will do.
    """
    latent, matrix = expected.others["latent"], _constant(source, "noise_std")
    assert matrix is not None
    with np.errstate(all="ignore"):
        values = np.sqrt(latent.values**2 @ matrix**2 + VARIANCE)
        slack = np.sqrt(latent.slack**2 @ matrix**2)
        squares = np.maximum(np.abs(latent.values).max(axis=1, keepdims=True), values) ** 2
        slack = np.where(squares > LARGEST_COMPARED, np.inf, slack)
    return Expected(values, np.maximum(np.abs(values), 1e-3), slack, SCORE_RELATIVE)
