"""
From a description and tensors to a model.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from compiler import check
from compiler.errors import quote
from compiler.frontends.sb3.check_options import check_options
from compiler.frontends.sb3.describe import Fields, describe_policy
from compiler.frontends.sb3.description import Description, Family
from compiler.frontends.sb3.families import FAMILIES, extractor_findings
from compiler.frontends.sb3.findings import Findings
from compiler.frontends.sb3.network import HIGH, LOW, OBSERVATION, Network
from compiler.ir import Model, Origin, Policy
from compiler.options import BuildOptions
from compiler.readers.tensors import TensorFile


def translate(
    description: Description,
    family: Family,
    file: TensorFile,
    origin: Origin,
    options: BuildOptions,
    findings: Findings,
) -> Model:
    """
    The model of a policy.

    Raises:
        CheckpointError: the tensors are not those of the described policy, or NaN or infinity decide the action.
        UnsupportedError: they are, but with layers that can't be compiled.
    """
    network = Network(file, findings)
    family.translate(network, description)
    findings.raise_all()
    model = Model(
        name=Path(origin.file).stem,
        nodes=tuple(network.builder.nodes),
        tensors=network.builder.tensors,
        inputs=(OBSERVATION,),
        outputs=tuple(network.outputs),
        origin=origin,
        policy=Policy(description.kind, description.observation_space, description.action_space),
    )
    if not options.allow_nonfinite_weights:
        for text in _nonfinite_weights(model):
            findings.damaged(text)
        findings.raise_all()
    return check.check(model, findings.where)


def translate_fields(
    fields: Fields, file: TensorFile, origin: Origin, options: BuildOptions, findings: Findings
) -> Model:
    """
    The model of a policy whose file holds its spaces and arguments.

    Raises:
        CheckpointError: as `translate`; or a field is damaged.
        UnsupportedError: as `translate`; or a field says what can't be compiled.
        BuildError: an option contradicts the file.
    """
    family = FAMILIES[fields.policy]
    for text in extractor_findings(family, file):
        findings.unsupported(text)
    description = describe_policy(fields, family, options, findings)
    if description is not None:
        check_options(description, options, findings)
    findings.raise_all()
    assert description is not None
    return translate(description, family, file, origin, options, findings)


def make_origin(
    path: Path, data: memoryview, form: str, versions: tuple[tuple[str, str], ...], assumptions: Iterable[str]
) -> Origin:
    """
    Where a model comes from: the file's name and the digest of all its bytes.
    """
    return Origin(path.name, hashlib.sha256(data).hexdigest(), form, versions, tuple(assumptions))


def _nonfinite_weights(model: Model) -> Iterable[str]:
    """
    A finding for each tensor of the checkpoint that holds NaN or infinity and that the action depends on.
    """
    action = model.output("action")
    needed = {action.tensor} if action else set()
    for node in reversed(model.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
    for tensor in model.constants():
        if tensor.name in needed - {LOW, HIGH} and not np.isfinite(tensor.data).all():  # type: ignore[arg-type]
            layer = tensor.name.rpartition(".")[0]
            yield (
                f"layer {quote(layer)}: {quote(tensor.name)} holds NaN or infinity; "
                "pass --allow-nonfinite-weights to compile it all the same"
            )
