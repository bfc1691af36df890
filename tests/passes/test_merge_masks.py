"""
The largest probability that is allowed is that of the largest logit that is allowed.
"""

import numpy as np
import pytest

from compiler.ir import BATCH, DType
from compiler.ops.reference import evaluate
from compiler.passes.bypass_softmax import bypass_softmax
from compiler.passes.merge_masks import merge_masks
from tests.passes.graphs import PROPAGATE, RAISE, Graph, apply, graph_of

INPUTS = ("x", "action_masks")


def graph(sizes: tuple[int, ...], first: str = "log_softmax", normalized: tuple[int, ...] | None = None) -> Graph:
    """
    What the frontend makes of a maskable policy.
    """
    found = Graph()
    found.input("action_masks", DType.BOOL, (BATCH, 5))
    logits = found.linear("x", "logits", 5)
    if first == "log_softmax":
        logits = found.add(first, [logits], "normalized", sizes=sizes if normalized is None else normalized)
    found.add("mask", [logits, "action_masks"], "masked")
    found.add("softmax", ["masked"], "probabilities", sizes=sizes)
    found.add("argmax", ["probabilities"], "mode", sizes=sizes)
    return found


def test_text():
    model = bypass_softmax(graph((2, 3)).model(("mode", "action"), inputs=INPUTS), RAISE)
    assert graph_of(apply(merge_masks, model)).splitlines()[4:] == [
        "'logits': float32[batch, 5] = linear('x', 'logits.weight', 'logits.bias')  # 'logits'",
        "'normalized': float32[batch, 5] = log_softmax('logits', sizes=(2, 3))  # 'normalized'",
        "'masked': float32[batch, 5] = mask('normalized', 'action_masks')  # 'masked'",
        "'probabilities': float32[batch, 5] = softmax('masked', scale=1.0, sizes=(2, 3))  # 'probabilities'",
        "'mode': int64[batch, 2] = masked_argmax('logits', 'action_masks', sizes=(2, 3))  # 'mode'",
        "output 'action' = 'mode' (action)",
    ]


@pytest.mark.parametrize("sizes", [(), (5,), (2, 3), (1, 1, 1, 1, 1)])
def test_every_mask_is_heeded(sizes):
    before = graph(sizes).model(("mode", "action"), inputs=INPUTS)
    after = apply(merge_masks, bypass_softmax(before, RAISE))
    assert after.nodes[-1].op == "masked_argmax"
    masks = np.unpackbits(np.arange(32, dtype=np.uint8)[:, None], axis=1)[:, 3:].astype(bool)  # those of none included
    for seed in range(5):
        inputs = {"x": np.random.default_rng(seed).normal(size=(32, 4)), "action_masks": masks}
        assert np.array_equal(evaluate(before, inputs)["mode"], evaluate(after, inputs)["mode"])


def test_what_is_left_alone():
    model = graph((2, 3)).model(("mode", "action"), inputs=INPUTS)
    assert apply(merge_masks, model) == model  # probabilities are compared, not logits
    bypassed = bypass_softmax(model, RAISE)
    assert apply(merge_masks, bypassed, PROPAGATE) is bypassed
    for other in (graph((2, 3), first="none"), graph((2, 3), normalized=(3, 2)), graph((2, 3), normalized=())):
        model = bypass_softmax(other.model(("mode", "action"), inputs=INPUTS), RAISE)
        assert apply(merge_masks, model) == model
