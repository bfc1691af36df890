"""
Keeps of a policy's outputs the action and what it is chosen from.
"""

from dataclasses import replace

from compiler.errors import BuildError
from compiler.ir import Model
from compiler.options import BuildOptions


def keep_action(model: Model, options: BuildOptions) -> Model:
    """
    Takes the `value` output from a policy, unless it is asked for: predictors answer with actions.

    The value network itself, the critics and the targets go with `drop_unused`, since nothing needs them any more.
    Models that are not policies are left alone.

    Raises:
        BuildError: the value is asked for, and there is none.
    """
    if model.policy is None:
        return model
    if options.with_value:
        return _with_value(model)
    return replace(model, outputs=tuple(output for output in model.outputs if output.role != "value"))


def _with_value(model: Model) -> Model:
    if model.output("value") is None:
        raise BuildError(
            "options",
            f"--with-value: {model.origin.file} has no value network that follows from what the actor sees; leave it "
            "out (PPO, A2C, TRPO and MaskablePPO have one, RecurrentPPO unless its critic has an LSTM of its own)",
        )
    return model
