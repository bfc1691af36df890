"""
What stands between a network's last layer and an action that is not a choice: rounding, clipping, rescaling, means.
"""

from collections.abc import Sequence

import numpy as np

from compiler.ir import DType, Tensor
from compiler.ops.table import Array, Attributes, Op, TensorType, need_float, need_rows, refuse, same_type

LARGEST_EVEN_LOGIT = 1.5 * 2**-24
"""Up to here torch.sigmoid gives 0.5 in float32, which torch.round takes to 0."""


def _with_bounds(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, low, high = inputs
    need_float("bounds", source)
    features = need_rows("bounds", source)
    if low.shape != (features,) or high.shape != (features,) or low.dtype is not high.dtype:
        refuse("bounds", f"low and high must have shape ({features},) and one dtype, found {low.shape}, {high.shape}")
    return TensorType(DType(np.result_type(np.float32, low.dtype.numpy).name), source.shape)


def _quantile_mean_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    need_float("quantile_mean", inputs[0])
    features, quantiles = need_rows("quantile_mean", inputs[0]), attributes["quantiles"]
    if not isinstance(quantiles, int) or quantiles < 1 or features % quantiles:
        refuse("quantile_mean", f"{features} features are not {quantiles} quantiles of as many actions")
    return TensorType(DType.FLOAT32, (inputs[0].shape[0], features // quantiles))


def _quantile_mean(x: Array, quantiles: int) -> Array:
    result: Array = x.reshape(len(x), quantiles, -1).mean(axis=1)
    return result


ROWS = (
    Op(
        name="clip",
        summary="numpy.clip to [low, high], in the dtype that NumPy promotes float32 and the bounds to",
        result=_with_bounds,
        reference=lambda x, low, high: np.clip(x, low, high),
        arity=3,
        template="clip",
    ),
    Op(
        name="rescale",
        summary="from [-1, 1] to [low, high], as SB3's unscale_action",
        result=_with_bounds,
        reference=lambda x, low, high: low + 0.5 * (x + 1.0) * (high - low),
        arity=3,
        template="rescale",
    ),
    Op(
        name="bernoulli_mode",
        summary="torch.round(torch.sigmoid(x)): 1 for positive logits, 0 for others, as floats",
        result=same_type("bernoulli_mode"),
        reference=lambda x: np.where(np.isnan(x), x, np.where(x > 0, 1.0, 0.0)),
        template="bernoulli_mode",
    ),
    Op(
        name="quantile_mean",
        summary="x.view(batch, quantiles, actions).mean(dim=1)",
        result=_quantile_mean_result,
        reference=_quantile_mean,
        attributes={"quantiles": int},
        template="quantile_mean",
    ),
)
