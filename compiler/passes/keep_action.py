"""
Keeps of a policy's outputs the action and what it is chosen from.
"""

from dataclasses import replace

from compiler.ir import Model
from compiler.options import BuildOptions


def keep_action(model: Model, options: BuildOptions) -> Model:
    """
    Takes the `value` output from a policy, unless it is asked for: predictors answer with actions.

    The value network itself, the critics and the targets go with `drop_unused`, since nothing needs them any more.
    Models that are not policies are left alone.
    """
    if model.policy is None or options.with_value:
        return model
    return replace(model, outputs=tuple(output for output in model.outputs if output.role != "value"))
