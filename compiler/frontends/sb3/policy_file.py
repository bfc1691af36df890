"""
What torch.save wrote of a policy: a bare state dict (the member `policy.pth` of a zip), or `model.policy.save()`.
"""

from pathlib import Path

from compiler.frontends.sb3 import ars
from compiler.frontends.sb3.families import (
    FAMILIES,
    LINEAR_ARS,
    policy_from_arguments,
    policy_from_keys,
    without_compile,
)
from compiler.frontends.sb3.fields import Fields
from compiler.frontends.sb3.findings import Findings
from compiler.frontends.sb3.infer import infer_policy
from compiler.frontends.sb3.translate import make_origin, translate, translate_fields
from compiler.ir import Model
from compiler.options import BuildOptions
from compiler.readers.tensors import TensorFile, read_tensors

BARE, SAVED = "torch-state-dict", "sb3-policy"
SPACES = ("observation_space", "action_space")


def read_policy_file(data: memoryview, path: Path, options: BuildOptions) -> Model:
    """
    The model of a policy.

    Raises:
        CheckpointError: the file is damaged, or its tensors are not those of an SB3 policy.
        UnsupportedError: it holds another policy than those that can be compiled, or what can't be known from it.
        BuildError: an option contradicts it.
    """
    file = without_compile(read_tensors(data, str(path)), str(path))
    policy = policy_from_keys(file, str(path))
    findings = Findings(str(path))
    if file.data is not None:
        return _read_saved(policy, file, file.data, data, path, options)
    description, family, assumptions = infer_policy(policy, file, options, findings)
    origin = make_origin(path, data, BARE, (), assumptions)
    return translate(description, family, file, origin, options, findings)


def _read_saved(
    policy: str,
    file: TensorFile,
    arguments: dict[str, object],
    data: memoryview,
    path: Path,
    options: BuildOptions,
) -> Model:
    """
    The model of `model.policy.save()`, which stores the constructor's arguments, the spaces among them.
    """
    findings = Findings(str(path))
    for name in SPACES:
        if name not in arguments:
            findings.damaged(f"data has no {name}")
    findings.raise_all()
    policy = policy_from_arguments(policy, arguments)
    if FAMILIES[policy] is ars.FAMILY:
        # ARS leaves out squash_output; the list of modules has the Tanh that goes with it.
        squashed = ars.ends_in_tanh(file.tensors, file.module_paths)
        arguments = {"squash_output": squashed} | arguments
        policy = policy if arguments.get("net_arch") else LINEAR_ARS
    spaces = arguments["observation_space"], arguments["action_space"]
    fields = Fields(policy, True, *spaces, arguments, "data")
    return translate_fields(fields, file, make_origin(path, data, SAVED, (), ()), options, findings)
