"""
Every op that the frontend translates, against torch: many small functions of the same inputs in one program each.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.frontends.test_torch_export import compare

Function = Callable[..., Any]


class Functions(nn.Module):  # type: ignore[misc]
    """
    The results of several functions of the same inputs.
    """

    def __init__(self, functions: Sequence[Function]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, *inputs: Tensor) -> list[Any]:
        return [function(*inputs) for function in self.functions]


def check_functions(functions: Sequence[Function], *inputs: Tensor, dynamic: bool = True) -> None:
    torch.manual_seed(0)
    compare(Functions(functions), inputs, dynamic=dynamic)


X = torch.randn(3, 4, 6)
INTEGERS = torch.full((3, 4, 6), 9)
BOOLS = torch.ones(3, 4, 6, dtype=torch.bool)
WEIGHT = torch.randn(6)


def test_functions_of_one_number():
    positive = [torch.log, torch.log1p, torch.sqrt, torch.rsqrt, torch.log2, torch.log10, torch.reciprocal]
    check_functions(
        [
            *(lambda x, f=f: f(x.abs() + 0.1) for f in positive),
            *(torch.exp, torch.expm1, torch.exp2, torch.sin, torch.cos, torch.erf, torch.sigmoid, torch.tanh),
            *(torch.neg, torch.abs, torch.square, torch.sign, torch.floor, torch.ceil, torch.round, torch.trunc),
            *(torch.isnan, torch.isinf, torch.isfinite, torch.frac, torch.relu),
            lambda x: torch.tan(x * 0.3),
            *(torch.sinh, torch.cosh, torch.erfc, lambda x: torch.hypot(x, x + 1)),
        ],
        X,
    )


def test_activations():
    check_functions(
        [
            functional.relu,
            functional.relu6,
            functional.gelu,
            lambda x: functional.gelu(x, approximate="tanh"),
            functional.silu,
            functional.mish,
            functional.elu,
            lambda x: functional.elu(x, 0.3),
            functional.celu,
            functional.selu,
            functional.leaky_relu,
            lambda x: functional.leaky_relu(x, 0.3),
            functional.hardtanh,
            functional.hardswish,
            functional.hardsigmoid,
            functional.hardshrink,
            functional.softshrink,
            functional.softplus,
            lambda x: functional.softplus(x, 2.0, 5.0),
            functional.softsign,
            functional.tanhshrink,
            functional.logsigmoid,
            functional.glu,
            lambda x: functional.threshold(x, 0.1, -3.0),
            lambda x: functional.prelu(x, torch.tensor([0.1, 0.2, 0.3, 0.4])),
            lambda x: functional.prelu(x, torch.tensor([0.1])),
            lambda x: functional.rrelu(x, 0.1, 0.3),
            lambda x: functional.normalize(x, dim=-1),
        ],
        X,
    )


def test_arithmetic():
    check_functions(
        [
            lambda x, y: x + y,
            lambda x, y: torch.add(x, y, alpha=2),
            lambda x, y: x - y,
            lambda x, y: torch.sub(x, y, alpha=0.5),
            lambda x, y: 3 - x,
            lambda x, y: x * y,
            lambda x, y: x / (y.abs() + 1),
            lambda x, y: 2 / (x.abs() + 1),
            lambda x, y: torch.div(x, 0.3, rounding_mode="floor"),
            lambda x, y: torch.div(x, 0.3, rounding_mode="trunc"),
            lambda x, y: x // 0.7,
            lambda x, y: x % 0.7,
            lambda x, y: torch.fmod(x, 0.7),
            lambda x, y: torch.maximum(x, y),
            lambda x, y: torch.minimum(x, y),
            lambda x, y: x**2 + x**3 + (x.abs() + 0.1) ** 0.5,
            lambda x, y: (x.abs() + 0.1) ** -1.7,
            lambda x, y: (x.abs() + 0.1) ** y,
            lambda x, y: 2**x,
            lambda x, y: torch.clamp(x, -0.5, 0.5),
            lambda x, y: torch.clamp(x, min=-0.5),
            lambda x, y: torch.clamp(x, max=y),
            lambda x, y: x.clamp_min(0.1) + x.clamp_max(0.1),
            lambda x, y: torch.lerp(x, y, 0.3),
            lambda x, y: torch.addcmul(x, x, y, value=0.5),
            lambda x, y: x + y.mean(dim=(1, 2), keepdim=True) + WEIGHT,
            lambda x, y: x[:, 0] * y.mean(dim=(1, 2)).unsqueeze(-1),
            lambda x, y: torch.logaddexp(x, y),
            lambda x, y: torch.nan_to_num(x),
            lambda x, y: torch.where(x > y, x, 0.0) + torch.where(x > 0, 1.0, y),
        ],
        X,
        X.clone(),
    )


def test_integers():
    check_functions(
        [
            lambda n, m: n + m,
            lambda n, m: n - 2 * m,
            lambda n, m: n * m,
            lambda n, m: n / (m + 1),
            lambda n, m: n // (m + 1),
            lambda n, m: n % (m + 1),
            lambda n, m: (n - 5) % 3,
            lambda n, m: n + 0.5,
            lambda n, m: torch.sqrt(n),
            lambda n, m: -n.abs() + n.sign(),
            lambda n, m: n.square(),
            lambda n, m: n.clamp(2, 5),
            lambda n, m: torch.maximum(n, m),
            lambda n, m: n.sum(-1),
            lambda n, m: n.float().mean(-1),
            lambda n, m: n.amax(1),
            lambda n, m: n.cumsum(1),
            lambda n, m: (n > m).int() + (n == m).long(),
            lambda n, m: (n >= 4) & (m < 3) | ~(n != m) ^ (m <= 2),
            lambda n, m: functional.one_hot(n, 10).float(),
            lambda n, m: torch.relu(n - 4),
            lambda n, m: n.float().to(torch.int32) + n.to(torch.uint8),
            lambda n, m: n.bool(),
        ],
        INTEGERS,
        INTEGERS.clone(),
    )


def test_truths():
    check_functions(
        [
            lambda a, x: a.any(-1),
            lambda a, x: a.all(-1, keepdim=True),
            lambda a, x: a.any(dim=(1, 2)),
            lambda a, x: a.sum(-1),
            lambda a, x: torch.logical_and(a, x > 0),
            lambda a, x: torch.logical_or(a, x),
            lambda a, x: torch.logical_xor(a, x > 0),
            lambda a, x: torch.logical_not(x),
            lambda a, x: a * (x > 0),
            lambda a, x: a + (x > 0),
            lambda a, x: x.masked_fill(a, -1.0),
            lambda a, x: x * a,
            lambda a, x: torch.where(a, x, -x),
            lambda a, x: a.float() - 0.5,
            lambda a, x: torch.cat((a, x > 0), dim=1),
            lambda a, x: a[:, 1] == a[:, 2],
        ],
        BOOLS,
        X,
    )


def test_reductions():
    check_functions(
        [
            lambda x: x.sum(1),
            lambda x: x.sum((1, 2), keepdim=True),
            lambda x: x.mean(-1),
            lambda x: x.amax((1, 2)),
            lambda x: x.amin(-1, keepdim=True),
            lambda x: x.max(1).values,
            lambda x: x.max(1, keepdim=True).indices,
            lambda x: x.min(-1).indices,
            lambda x: x.argmax(-1),
            lambda x: x.argmin(1, keepdim=True),
            lambda x: x.prod(-1),
            lambda x: x.var(-1),
            lambda x: x.var(1, unbiased=False, keepdim=True),
            lambda x: x.std(-1),
            lambda x: torch.var_mean(x, -1)[1],
            lambda x: torch.std_mean(x, (1, 2), correction=0)[0],
            lambda x: x.norm(dim=-1),
            lambda x: torch.linalg.vector_norm(x, 1, dim=-1),
            lambda x: torch.linalg.vector_norm(x, math.inf, dim=(1, 2)),
            lambda x: torch.linalg.vector_norm(x, 3.0, dim=-1),
            lambda x: torch.logsumexp(x, -1),
            lambda x: x.softmax(1),
            lambda x: functional.log_softmax(x, -1),
            lambda x: functional.softmin(x, -1),
            lambda x: x.cumsum(1),
            lambda x: x.topk(1, dim=-1).values,
            lambda x: x.topk(3, dim=-1).values,
            lambda x: x.topk(2, dim=1).indices,
            lambda x: x.topk(2, dim=-1, largest=False).indices,
            lambda x: x.sort(-1).values,
            lambda x: x.argsort(1, descending=True),
            lambda x: x.count_nonzero(-1),
        ],
        X,
    )


def test_reductions_of_everything():
    check_functions(
        [
            lambda x: x.sum(),
            lambda x: x.mean(),
            lambda x: x.max(),
            lambda x: x.min(),
            lambda x: x.prod(),
            lambda x: x.argmax(),
            lambda x: (x > 0).any() | (x > 0).all(),
            lambda x: x.std(),
            lambda x: x.norm(),
            lambda x: x.flatten().dot(x.flatten()),
            lambda x: x / x.abs().max(),
        ],
        X,
        dynamic=False,
    )


def _overwritten(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 1] = 0
    y[:, 2:4, 1:3] = x[:, :2, :2]
    y[:, 0, 0] += 1
    y[:, :, 5] *= 2
    return y


def test_shapes():
    places = torch.tensor([3, 0, -1])
    check_functions(
        [
            lambda x: x.view(-1, 24),
            lambda x: x.reshape(x.shape[0], 2, 2, 6),
            lambda x: x.flatten(1),
            lambda x: x.unflatten(2, (2, 3)),
            lambda x: x.unsqueeze(1).squeeze(1),
            lambda x: x.transpose(1, 2),
            lambda x: x.permute(0, 2, 1),
            lambda x: x.movedim(1, 2).contiguous(),
            lambda x: x.mT,
            lambda x: x.unsqueeze(1).expand(-1, 5, -1, -1),
            lambda x: x.repeat(1, 2, 3),
            lambda x: x.repeat_interleave(2, dim=1),
            lambda x: x.tile(1, 2, 1),
            lambda x: x[:, 1:3],
            lambda x: x[:, ::2, -4:],
            lambda x: x[:, -1],
            lambda x: x[..., 2:],
            lambda x: x[:, :, None, 0],
            lambda x: x.narrow(2, 1, 3),
            lambda x: torch.cat(x.split(2, dim=1), dim=2),
            lambda x: torch.cat(x.split((1, 5), dim=2), dim=2),
            lambda x: torch.stack(x.chunk(3, dim=-1), dim=1),
            lambda x: torch.stack(x.unbind(1), dim=-1),
            lambda x: torch.cat((x, torch.ones(1, 4, 2).expand(x.shape[0], -1, -1)), dim=-1),
            lambda x: functional.pad(x, (1, 2)),
            lambda x: functional.pad(x, (0, 0, 2, 1), value=-1.0),
            lambda x: functional.pad(x, (-1, 1)),
            lambda x: functional.pad(x, (2, 1), mode="reflect"),
            lambda x: functional.pad(x, (2, 1), mode="replicate"),
            lambda x: functional.pad(x, (2, 1), mode="circular"),
            lambda x: x.flip(1, 2),
            lambda x: x.roll(1, 1),
            lambda x: x.roll((1, -2), (1, 2)),
            lambda x: x[:, [2, 0]],
            lambda x: x[:, places],
            lambda x: x[:, [[0, 1], [2, 3]], [[5, 4], [3, 2]]],
            lambda x: x[:, [0, 1], :][:, :, [1, 1]],
            lambda x: x[:, places][..., places],
            lambda x: x.index_select(2, torch.tensor([5, 5, 0])),
            lambda x: x.tril(),
            lambda x: x.triu(1),
            lambda x: x.masked_fill(torch.ones(4, 6).triu().bool(), 0.0),
            _overwritten,
            lambda x: torch.zeros_like(x) + x.new_ones(1) + torch.full_like(x, 0.5) + x.new_full((6,), 2.0),
            lambda x: (
                torch.meshgrid(x[0, 0] * 0 + torch.arange(6.0), torch.arange(2.0), indexing="ij")[1]
                + x.sum((1, 2)).view(-1, 1, 1)
            ),
            lambda x: functional.pixel_shuffle(x.view(-1, 4, 2, 3), 2),
            lambda x: functional.pixel_unshuffle(x.view(-1, 1, 4, 6), 2),
            lambda x: functional.channel_shuffle(x.view(-1, 4, 2, 3), 2),
            lambda x: functional.unfold(x.view(-1, 1, 4, 6), 2),
            lambda x: torch.einsum("bij,bkj->bik", x, x),
            lambda x: torch.einsum("bij,j->bi", x, WEIGHT),
            lambda x: x @ WEIGHT,
            lambda x: x @ x.transpose(1, 2),
            lambda x: WEIGHT @ x.transpose(1, 2),
            lambda x: torch.baddbmm(x, x @ x.mT, x, beta=0.5, alpha=2.0),
            lambda x: torch.bmm(x, x.mT),
            lambda x: torch.outer(x.sum((1, 2)), WEIGHT),
            lambda x: x.diagonal(dim1=1, dim2=2),
            lambda x: x.diagonal(1, -1, -2),
        ],
        X,
    )


def test_lookups():
    table = torch.randn(10, 5)
    check_functions(
        [
            lambda x, n: functional.embedding(n, table),
            lambda x, n: table[n],
            lambda x, n: x.gather(2, n % 6),
            lambda x, n: x.gather(1, n[:, :2] % 4),
            lambda x, n: x[torch.arange(x.shape[0]), n[:, 0, 0] % 4],
            lambda x, n: x[torch.arange(x.shape[0]), n[:, 0, 0] % 4, n[:, 0, 1] % 6],
            lambda x, n: functional.one_hot(n[:, 0], 10),
            lambda x, n: torch.zeros(x.shape[0], 10).scatter(1, n[:, 0, :1], 1.0),
            lambda x, n: x.scatter(2, n[:, :, :1] % 6, x.sum(2, keepdim=True)),
            lambda x, n: x.scatter(1, n[:, :1] % 4, -1.0),
            lambda x, n: table.index_select(0, n[:, 0, 0]),
            lambda x, n: torch.gather(x, 2, x.argmax(-1, keepdim=True)),
            lambda x, n: functional.embedding(n[:, 0], table).mean(1),
        ],
        X,
        INTEGERS,
    )


def test_normalisation():
    weight, bias = torch.randn(4), torch.randn(4)
    last, shift = torch.randn(6), torch.randn(6)
    mean, variance = torch.randn(4), torch.rand(4) + 0.5
    check_functions(
        [
            lambda x: functional.layer_norm(x, (6,)),
            lambda x: functional.layer_norm(x, (4, 6), torch.ones(4, 6) * 2, torch.ones(4, 6)),
            lambda x: functional.layer_norm(x, (6,), last, shift, 1e-3),
            lambda x: functional.group_norm(x, 2, weight, bias),
            lambda x: functional.group_norm(x, 4),
            lambda x: functional.instance_norm(x),
            lambda x: functional.instance_norm(x, weight=weight, bias=bias),
            lambda x: functional.batch_norm(x, mean, variance, weight, bias),
            lambda x: functional.batch_norm(x, mean, variance),
            lambda x: functional.rms_norm(x, (6,)),
            lambda x: functional.rms_norm(x, (6,), last, 1e-3),
            lambda x: functional.dropout(x, 0.5, training=False),
        ],
        X,
    )


def test_images():
    images = torch.randn(2, 4, 9, 8)
    weight, bias = torch.randn(6, 4, 3, 3), torch.randn(6)
    check_functions(
        [
            lambda x: functional.conv2d(x, weight),
            lambda x: functional.conv2d(x, weight, bias, stride=2, padding=(1, 2)),
            lambda x: functional.conv2d(x, weight, bias, dilation=2),
            lambda x: functional.conv2d(x, weight[:, :2], bias, groups=2),
            lambda x: functional.conv2d(x, weight[:, :, :2], bias, padding="same"),
            lambda x: functional.conv2d(x, weight, bias, padding="same", dilation=(1, 2)),
            lambda x: functional.conv_transpose2d(x, weight[:4], stride=2, padding=1, output_padding=1),
            lambda x: functional.conv_transpose2d(x, weight[:4, :2], groups=2, dilation=2),
            lambda x: functional.max_pool2d(x, 2),
            lambda x: functional.max_pool2d(x, 3, 2, 1, ceil_mode=True),
            lambda x: functional.max_pool2d(x, (2, 3), 1, (1, 0), (2, 1)),
            lambda x: functional.avg_pool2d(x, 2),
            lambda x: functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
            lambda x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
            lambda x: functional.adaptive_avg_pool2d(x, 1),
            lambda x: functional.adaptive_avg_pool2d(x, (3, 5)),
            lambda x: functional.adaptive_max_pool2d(x, (3, 4)),
            lambda x: functional.interpolate(x, scale_factor=2),
            lambda x: functional.interpolate(x, size=(5, 13)),
            lambda x: functional.interpolate(x, scale_factor=1.7),
            lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
            lambda x: functional.interpolate(x, size=(5, 13), mode="bilinear", align_corners=True),
            lambda x: functional.interpolate(x, scale_factor=1.7, mode="bilinear", align_corners=False),
        ],
        images,
    )


def test_signals():
    signals = torch.randn(2, 4, 11)
    weight, bias = torch.randn(6, 4, 3), torch.randn(6)
    check_functions(
        [
            lambda x: functional.conv1d(x, weight),
            lambda x: functional.conv1d(x, weight, bias, stride=2, padding=1),
            lambda x: functional.conv1d(x, weight[:, :2], bias, groups=2, dilation=2),
            lambda x: functional.conv1d(x, weight[:, :, :2], bias, padding="same"),
            lambda x: functional.conv_transpose1d(x, weight[:4], stride=2, output_padding=1),
            lambda x: functional.max_pool1d(x, 3, 2, 1),
            lambda x: functional.avg_pool1d(x, 3, 2, 1),
            lambda x: functional.adaptive_avg_pool1d(x, 5),
            lambda x: functional.adaptive_max_pool1d(x, 1),
            lambda x: functional.interpolate(x, scale_factor=2),
            lambda x: functional.interpolate(x, size=7, mode="linear"),
            lambda x: functional.conv1d(x.transpose(1, 2), torch.ones(2, 11, 1)),
        ],
        signals,
    )


def test_attention():
    x = torch.randn(2, 2, 5, 4)
    mask = torch.ones(5, 5).tril().bool()
    attend = functional.scaled_dot_product_attention
    check_functions(
        [
            lambda q, k: attend(q, k, k),
            lambda q, k: attend(q, k, k + 1, is_causal=True),
            lambda q, k: attend(q, k, k, attn_mask=mask),
            lambda q, k: attend(q, k, k, attn_mask=torch.zeros(5, 5).masked_fill(~mask, -1e4)),
            lambda q, k: attend(q, k, k, attn_mask=k[:, :, :, :1].transpose(2, 3) > 0.1),
            lambda q, k: attend(q, k, k, attn_mask=q @ k.mT, scale=0.3),
            lambda q, k: attend(q[:, :, :1], k, k),
            lambda q, k: attend(q, k[:, :1], k[:, :1]),
            lambda q, k: attend(q.flatten(1, 2), k[:, 0], k[:, 0]),
        ],
        x,
        x.clone(),
    )


@pytest.mark.parametrize("batch_first", [True, False])
def test_recurrent_layers_without_a_batch_of_their_own(batch_first):
    class Sequences(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=batch_first)
            self.gru = nn.GRU(3, 4, bidirectional=True, batch_first=batch_first)

        def forward(self, x: Tensor, hidden: Tensor) -> list[Tensor]:
            given = x if batch_first else x.transpose(0, 1)
            outputs, (last, cell) = self.lstm(given, (hidden.unsqueeze(0), 2 * hidden.unsqueeze(0)))
            others, _ = self.gru(given)
            both = torch.cat((outputs, others), dim=-1)
            return [both if batch_first else both.transpose(0, 1), last[0], cell[0]]

    compare(Sequences(), (torch.randn(2, 5, 3), torch.randn(2, 4)))


def test_one_sequence_without_a_batch():
    class Sequence(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            outputs, (last, _) = self.lstm(x)
            return outputs, last

    compare(Sequence(), (torch.randn(5, 3),), dynamic=False)
