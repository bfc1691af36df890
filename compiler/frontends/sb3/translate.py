"""
From a description and tensors to a model.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from compiler import check
from compiler.errors import quote
from compiler.frontends.sb3.assumptions import Assumptions
from compiler.frontends.sb3.check_options import check_options
from compiler.frontends.sb3.describe import describe_policy
from compiler.frontends.sb3.description import Description, Family
from compiler.frontends.sb3.extractors import other_findings
from compiler.frontends.sb3.families import FAMILIES
from compiler.frontends.sb3.fields import Fields
from compiler.frontends.sb3.findings import Findings
from compiler.frontends.sb3.network import HIGH, LOW, Network
from compiler.frontends.sb3.vecnormalize import Statistics, read_vecnormalize
from compiler.ir import Model, Origin, Policy
from compiler.options import BuildOptions
from compiler.readers.files import read_file
from compiler.readers.tensors import TensorFile

DECISIVE = ("action", "distribution")
"""The roles of outputs that decide actions."""


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
        BuildError: the option `vecnormalize` names a file that was made for other observations.
    """
    statistics: dict[str, Statistics] = {}
    if options.vecnormalize is not None:
        normalize = read_vecnormalize(Path(options.vecnormalize))
        statistics = normalize.inputs(description.observation_space, findings.where)
        origin = replace(origin, vecnormalize=normalize.sha256)
    extractor = None if options.extractor is None else Path(options.extractor)
    if extractor is not None:
        digest = hashlib.sha256(read_file(extractor)).hexdigest()
        origin = replace(origin, versions=(*origin.versions, ("SHA-256 of the features extractor", digest)))
    network = Network(file, findings, statistics, extractor)
    for prefix in family.extractors:
        names = other_findings(prefix, description.extractor, description.observation_space, network.names)
        for text in names:
            findings.unsupported(text)
    findings.raise_all()
    family.translate(network, description)
    findings.raise_all()
    model = Model(
        name=Path(origin.file).stem,
        nodes=tuple(network.builder.nodes),
        tensors=network.builder.tensors,
        inputs=tuple(network.inputs),
        outputs=tuple(network.outputs),
        origin=origin,
        states=tuple(network.states),
        policy=Policy(description.kind, description.observation_space, description.action_space, network.sampling),
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
    assumptions = Assumptions(options.strict, findings)
    description = describe_policy(fields, options, findings, assumptions)
    if description is not None:
        check_options(description, options, findings)
    findings.raise_all()
    assert description is not None
    origin = replace(origin, assumptions=(*origin.assumptions, *assumptions.texts))
    return translate(description, FAMILIES[fields.policy], file, origin, options, findings)


def make_origin(
    path: Path, data: memoryview, form: str, versions: tuple[tuple[str, str], ...], assumptions: Iterable[str]
) -> Origin:
    """
    Where a model comes from: the file's name and the digest of all its bytes.
    """
    return Origin(path.name, hashlib.sha256(data).hexdigest(), form, versions, tuple(assumptions))


def _nonfinite_weights(model: Model) -> Iterable[str]:
    """
    A finding for each tensor of the checkpoint that holds NaN or infinity and that actions depend on, drawn ones too.
    """
    needed = {output.tensor for output in model.outputs if output.role in DECISIVE}
    needed |= {state.output for state in model.states}
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
