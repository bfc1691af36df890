"""
What happens to a model between the frontend and codegen: each pass is a pure function from model to model.

A pass does one thing, leaves a model alone that it has nothing to do for, and keeps what the reference computes.
"""

from collections.abc import Callable
from typing import TypeAlias

from compiler.errors import BuildError, quote
from compiler.ir import Model
from compiler.options import BuildOptions
from compiler.passes.apply_winograd import apply_winograd
from compiler.passes.average_quantiles import average_quantiles
from compiler.passes.bypass_softmax import bypass_softmax
from compiler.passes.convert_bounds import convert_bounds
from compiler.passes.drop_unused import drop_unused
from compiler.passes.fold_batch_norms import fold_batch_norms
from compiler.passes.fold_divisor import fold_divisor
from compiler.passes.fold_embeddings import fold_embeddings
from compiler.passes.fold_scales import fold_scales
from compiler.passes.fuse_activations import fuse_activations
from compiler.passes.fuse_sums import fuse_sums
from compiler.passes.keep_action import keep_action
from compiler.passes.look_up_one_hots import look_up_one_hots
from compiler.passes.lower_layers import lower_layers
from compiler.passes.merge_masks import merge_masks
from compiler.passes.pack_convolutions import pack_convolutions
from compiler.passes.pack_dense import pack_dense
from compiler.passes.pack_dense_over import pack_dense_over
from compiler.passes.project_sequences import project_sequences
from compiler.passes.sink_reshapes import sink_reshapes
from compiler.passes.turn_keys import turn_keys

Pass: TypeAlias = Callable[[Model, BuildOptions], Model]

PIPELINE: tuple[Pass, ...] = (
    keep_action,
    bypass_softmax,
    merge_masks,
    average_quantiles,
    fold_batch_norms,
    fold_scales,
    project_sequences,
    fold_embeddings,
    turn_keys,
    lower_layers,
    sink_reshapes,
    look_up_one_hots,
    drop_unused,
    convert_bounds,
    fold_divisor,
    pack_convolutions,
    apply_winograd,
    pack_dense,
    pack_dense_over,
    fuse_sums,
    fuse_activations,
)
"""The passes of every build, in order."""

NEEDED = ("convert_bounds", "pack_convolutions", "pack_dense", "pack_dense_over")
"""Those without which there are no kernels for some models, or wrong ones."""


def wanted(options: BuildOptions) -> tuple[Pass, ...]:
    """
    The passes of a build, in order, without those that were switched off.

    Raises:
        BuildError: a name that no pass has, or one of a pass that is needed.
    """
    names = [transform.__name__ for transform in PIPELINE]
    optional = [name for name in names if name not in NEEDED]
    for name in options.without or ():
        if name not in optional:
            found = "is needed for every build" if name in names else "is no pass"
            raise BuildError("options", f"without: {quote(name)} {found}; there are {', '.join(optional)}")
    return tuple(transform for transform in PIPELINE if transform.__name__ not in (options.without or ()))


__all__ = ["NEEDED", "PIPELINE", "Pass", "wanted"]
