"""
More of what the frontend translates, against torch: orders, writes by index, arcs, narrow integers, projections.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.errors import UnsupportedError
from tests.frontends.test_torch_export import compare
from tests.frontends.test_torch_export_ops import INTEGERS, X, check_functions

LONG = torch.randn(2, 100)


def test_orders():
    check_functions(
        [
            lambda x: x.topk(65)[0],
            lambda x: x.topk(65, largest=False)[1],
            lambda x: x.sort(-1)[0],
            lambda x: x.argsort(-1, descending=True),
            lambda x: torch.sort(x.round(), dim=-1, stable=True)[1],
            lambda x: torch.sort(x.masked_fill(x > 0, -torch.inf), dim=-1, descending=True, stable=True)[1],
            lambda x: x.median(-1)[0],
            lambda x: x.kthvalue(7, -1)[1],
            lambda x: x.quantile(0.3, -1),
            lambda x: torch.sort(x > 0, dim=-1, stable=True)[1],
        ],
        LONG,
    )


def test_orders_of_dimensions_in_the_middle():
    boundaries = torch.tensor([-1.0, 0.0, 0.5])
    check_functions(
        [
            lambda x: x.sort(1)[1],
            lambda x: x.topk(2, 1)[0],
            lambda x: x.median(1, keepdim=True)[0],
            lambda x: x.cumprod(1),
            lambda x: torch.bucketize(x.round(), boundaries),
            lambda x: torch.bucketize(x.round(), boundaries, right=True),
            lambda x: torch.searchsorted(boundaries, x, side="right"),
            lambda x: torch.cdist(x, x + 1),
            lambda x: torch.cdist(x, x + 1, p=1.0),
            lambda x: x.unfold(2, 3, 2),
            lambda x: x.unfold(1, 2, 1).sum(-1),
        ],
        X,
    )


def test_sizes_of_what_is_not_computed():
    check_functions(
        [
            lambda x: x + torch.ones_like(x[0, :1]).cumsum(-1),
            lambda x: x * torch.zeros_like(x.flip(0)[0]),
            lambda x: x + x.sum().new_full((3,), 2.0).sum(),
        ],
        X,
    )


def test_known_places():
    check_functions(
        [
            lambda x: x[:, [-1]],
            lambda x: x[..., [1, 3, 5]],
            lambda x: x[..., [3, 1]],
            lambda x: x[..., [1, 1]],
            lambda x: x[..., [4, 5, 1]],
            lambda x: x[:, [[0, 1], [2, 3]]],
        ],
        X,
    )


def test_arcs():
    check_functions(
        [
            torch.atan,
            torch.asinh,
            lambda x: torch.asinh(1e12 * x),
            lambda x: torch.acosh(x.abs() + 1),
            lambda x: torch.atanh(x.tanh() * 0.9),
            lambda x: torch.asin(x.tanh()),
            lambda x: torch.acos(x.tanh()),
            lambda x: torch.acos(x.sign()) + torch.asin(x.sign()),
            lambda x: torch.atan2(x, x.flip(1)),
            lambda x: torch.atan2(x.sign(), x.flip(2).sign() * 0.0),
            lambda x: torch.atan2(x.round() * 0.0, x.flip(1)),
            lambda x: torch.copysign(x, -x.flip(1)),
            lambda x: torch.signbit(x * 0.0),
            lambda x: torch.fmax(x, torch.log(x)),
            lambda x: torch.fmin(torch.log(x), x),
        ],
        X,
    )


def _written(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, [0, 2]] = 1.0
    y[:, [3, 0], [1, 5]] = x[:, 0, :2]
    y[..., -1] += x[..., 0]
    y[:, ::2] *= 2
    y[:, :, 1::3] = x[:, :, :2]
    return y


def _written_where_inputs_say(x: Tensor, n: Tensor) -> Tensor:
    y = x.clone()
    rows = torch.arange(x.shape[0])
    y[rows, n[:, 0, 0] % 4] = 0.0
    y[rows, n[:, 0, 1] % 4, n[:, 0, 2] % 6] += x[:, 1, 1]
    return y


def test_writes():
    twice = torch.tensor([0, 2, 2])
    check_functions(
        [
            lambda x, n: x.index_add(1, twice, x[:, :3]),
            lambda x, n: x.index_add(2, twice, x[..., :3], alpha=2.0),
            lambda x, n: x.index_copy(1, torch.tensor([2, 0]), x[:, 1:3]),
            lambda x, n: x.index_fill(1, torch.tensor([0, 3]), 2.0),
            lambda x, n: functional.fold(x[:, :, :4], (3, 3), 2),
            lambda x, n: x.scatter(2, n[:, :2, :1] % 6, 1.0),
            lambda x, n: x.scatter(2, n[:, :3, :2] % 6, x.flip(1)),
            lambda x, n: x.scatter_add(2, n % 6, x.flip(2)),
            lambda x, n: x.scatter_reduce(2, n % 6, x.flip(2), "amax"),
            lambda x, n: x.scatter_reduce(1, n % 4, x.flip(2), "prod"),
            lambda x, n: _written(x),
            _written_where_inputs_say,
            lambda x, n: functional.embedding_bag(n[:, 0], torch.arange(50.0).view(10, 5), mode="max"),
        ],
        X,
        INTEGERS,
    )


def test_integers_of_few_bits_wrap_around():
    check_functions(
        [
            lambda n: (n * 40).to(torch.uint8).long(),
            lambda n: (n * 40).to(torch.int8).float(),
            lambda n: (n * 9000).to(torch.int16).long(),
            lambda n: (n.to(torch.uint8) * 30 + 5).float(),
            lambda n: (n.float() - 4.7).to(torch.int8),
            lambda n: (n > 3).to(torch.uint8),
            lambda n: (n << 3) + (n >> 1),
        ],
        INTEGERS,
    )


def test_half_precision_within_a_program_is_not_rounded_to():
    class Mixed(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 3).half()
            self.register_buffer("shift", torch.randn(6).bfloat16())

        def forward(self, x: Tensor) -> Tensor:
            normed = (x.float() + self.shift.float()).softmax(-1).to(x.dtype)
            return self.linear(normed)

    compare(Mixed(), (X.half(),))


def test_projections_of_an_lstm():
    class Projected(nn.Module):  # type: ignore[misc]
        def __init__(self, given: bool) -> None:
            super().__init__()
            self.lstm = nn.LSTM(6, 5, 2, proj_size=3, bidirectional=True, batch_first=True)
            self.given = given

        def forward(self, x: Tensor, hidden: Tensor) -> list[Tensor]:
            before = hidden.transpose(0, 1)
            state = (before[..., :3], before) if self.given else None
            outputs, (last, cell) = self.lstm(x, state)
            return [outputs, last.transpose(0, 1), cell.transpose(0, 1)]

    for given in (False, True):
        compare(Projected(given), (X, torch.randn(3, 4, 5)))


def test_poolings_whose_sizes_do_not_divide():
    check_functions(
        [
            lambda x: functional.adaptive_max_pool2d(x, (4, 5)),
            lambda x: functional.adaptive_max_pool2d(x, (2, 8)),
            lambda x: functional.adaptive_max_pool1d(x[:, :, 0], 5),
            lambda x: functional.adaptive_max_pool1d(x[:, :, 0], 11),
            lambda x: functional.avg_pool2d(x, 2, divisor_override=3),
            lambda x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False, divisor_override=5),
        ],
        torch.randn(2, 4, 9, 8),
    )


def test_bilinear_layers():
    module = nn.Bilinear(4, 6, 3)
    compare(module, (torch.randn(3, 4), torch.randn(3, 6)))


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: functional.max_pool1d(x, 2, return_indices=True)[1], "return_indices=False"),
        (lambda x: functional.avg_pool2d(x, 2, ceil_mode=True, divisor_override=3), "ceil_mode"),
        (lambda x: x.scatter(1, x.long(), 0.0, reduce="add").scatter_reduce(1, x.long(), x, "mean"), "amax"),
        (lambda x: torch.searchsorted(x, x), "one dimension"),
    ],
)
def test_what_of_these_is_refused(function, text):
    with pytest.raises(UnsupportedError, match=text):
        check_functions([function], X)


class Attending(nn.Module):  # type: ignore[misc]
    """
    nn.MultiheadAttention with all that can be said to it.
    """

    later: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.MultiheadAttention(8, 2, batch_first=True)
        self.more = nn.MultiheadAttention(8, 4, bias=False, add_bias_kv=True, add_zero_attn=True, batch_first=True)
        self.register_buffer("later", torch.ones(5, 5).triu(1).bool())
        self.register_buffer("bias", torch.randn(5, 5))

    def forward(self, x: Tensor, lengths: Tensor) -> list[Tensor]:
        padding = torch.arange(5) >= lengths.unsqueeze(1)
        return [
            self.plain(x, x, x, key_padding_mask=padding, need_weights=False)[0],
            self.plain(x, x, x, attn_mask=self.later, is_causal=True, need_weights=False)[0],
            self.plain(x, x, x, attn_mask=self.bias, key_padding_mask=padding)[1],
            self.plain(x, x, x, attn_mask=self.later, average_attn_weights=False)[1],
            self.more(x, x, x)[0],
        ]


def test_attention_of_several_heads_with_masks():
    compare(Attending(), (torch.randn(2, 5, 8), torch.tensor([5, 3])))


def test_attention_with_shared_heads_and_masks():
    query, key = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 7, 8)
    heads, places = torch.randn(4, 1, 7), torch.randn(5, 7)
    attend = functional.scaled_dot_product_attention
    check_functions(
        [
            lambda q, k: attend(q, k, k + 1, enable_gqa=True, is_causal=True, scale=0.2),
            lambda q, k: attend(q, k, k, attn_mask=heads, enable_gqa=True),
            lambda q, k: attend(q, k, k[..., :3], attn_mask=places, enable_gqa=True),
            lambda q, k: attend(q[:, :2], k, k, attn_mask=torch.zeros(5, 7).bool()),
        ],
        query,
        key,
    )


def test_convolutions_of_all_kinds():
    signal, weight = torch.randn(2, 4, 11), torch.randn(8, 4, 3)
    bias = torch.randn(8)
    check_functions(
        [
            lambda x: functional.conv1d(x, weight[:, :1], bias, 1, 0, 1, 4),
            lambda x: functional.conv1d(x, weight[:, :2], bias, 2, 3, 1, 2),
            lambda x: functional.conv1d(x, weight, None, 1, "same", 3),
            lambda x: functional.conv_transpose1d(x, weight[:4], None, 3, 0, 1, 2),
            lambda x: functional.conv_transpose1d(x, weight[:4, :, :2], None, 3, 2, 2, 4, 2),
            lambda x: functional.conv_transpose2d(
                x.unsqueeze(2), weight[:4].unsqueeze(2), None, (1, 2), (0, 1), (0, 1), 2
            ),
            *(
                lambda x, mode=mode: functional.pad(x, (2, 1), mode=mode)
                for mode in ("reflect", "replicate", "circular")
            ),
            lambda x: functional.pad(x, (-1, 2), value=3.0),
        ],
        signal,
    )


def test_resizing_with_corners_aligned_or_not():
    sizes = ((5, 13), (1, 1), (3, 1), (18, 16))
    check_functions(
        [
            lambda x, size=size, aligned=aligned: functional.interpolate(
                x, size=size, mode="bilinear", align_corners=aligned
            )
            for size in sizes
            for aligned in (True, False)
        ],
        torch.randn(2, 3, 9, 8),
    )
