"""
What torch.save wrote of a policy: a bare state dict (the member `policy.pth` of a zip), or `model.policy.save()`.
"""

from pathlib import Path

from compiler.errors import UnsupportedError
from compiler.frontends.sb3 import actor_critic
from compiler.frontends.sb3.describe import Fields
from compiler.frontends.sb3.families import COMPILED, FAMILIES, extractor_findings, policy_from_keys
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
    file = read_tensors(data, str(path))
    policy = policy_from_keys(file, str(path))
    findings = Findings(str(path))
    if file.data is not None:
        return _read_saved(policy, file, file.data, data, path, options)
    for text in extractor_findings(FAMILIES[policy], file):
        findings.unsupported(text)
    findings.raise_all()
    description, assumptions = infer_policy(policy, FAMILIES[policy], file, options, findings)
    origin = make_origin(path, data, BARE, (), assumptions)
    return translate(description, FAMILIES[policy], file, origin, options, findings)


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
    if FAMILIES[policy] is actor_critic.FAMILY and "use_sde" not in arguments:
        # The tensors are those of PPO, but MaskablePPO's constructor alone has no use_sde.
        raise UnsupportedError(str(path), f"a policy of MaskablePPO is not compiled yet; {COMPILED}")
    fields = Fields(policy, arguments["observation_space"], arguments["action_space"], arguments, "data")
    return translate_fields(fields, file, make_origin(path, data, SAVED, (), ()), options, findings)
