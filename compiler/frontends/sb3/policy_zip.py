"""
The `.zip` that SB3's `model.save()` writes: JSON fields of the algorithm, some of them pickled, and `policy.pth`.

Of the pickled fields only four are decoded, inertly; the others may hold anything. The layout is that of
stable_baselines3/common/save_util.py.
"""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path

from compiler.errors import CheckpointError, quote
from compiler.frontends.sb3.families import FAMILIES, policy_from_class, without_compile
from compiler.frontends.sb3.fields import Fields
from compiler.frontends.sb3.findings import Findings
from compiler.frontends.sb3.translate import make_origin, translate_fields
from compiler.frontends.sb3.vecnormalize import STATISTICS_UNKNOWN
from compiler.ir import Model
from compiler.options import BuildOptions
from compiler.readers.archive import Archive
from compiler.readers.pickle_machine import decode, mapping
from compiler.readers.tensors import TensorFile, read_tensors

FORMAT = "sb3-zip"
MEMBERS = ("data", "policy.pth")
FIELDS = ("policy_class", "policy_kwargs", "observation_space", "action_space")
PICKLED = ":serialized:"
VERSION = "_stable_baselines3_version"
PLAIN_VERSION = re.compile(rb"[0-9A-Za-z.+-]{1,40}")
MOST_JSON_BYTES = 32 << 20
"""Of the member `data`: twice what the last observations of hundreds of image environments take."""
MOST_JSON_VALUES = 1_000_000
"""In the member `data`; `[]` is 2 bytes of JSON and 64 in memory."""

ON_POLICY = frozenset(("PPO", "A2C", "TRPO", "MaskablePPO", "RecurrentPPO", "ARS"))
"""The algorithms that keep unnormalised observations only where VecNormalize normalises them."""


def read_zip(data: memoryview, path: Path, options: BuildOptions) -> Model:
    """
    The model of an agent.

    Raises:
        CheckpointError: the file is damaged or contradicts itself.
        UnsupportedError: it holds another policy than those that can be compiled, or what can't be known from it.
        BuildError: an option contradicts it.
    """
    findings = Findings(str(path))
    archive = Archive.open(data, str(path))
    missing = [quote(name) for name in MEMBERS if name not in archive]
    if missing:
        raise CheckpointError(str(path), f"the archive has no {' and no '.join(missing)}; model.save() writes both")
    items = _items(archive, str(path))
    values = {name: findings.attempt(lambda name=name: _value(items, name, str(path))) for name in FIELDS}  # type: ignore[misc]
    file = findings.attempt(lambda: _tensors(archive, f"{path}: policy.pth"))
    findings.raise_all()
    assert file is not None

    policy = policy_from_class(values["policy_class"], f"{path}: policy_class")
    use_sde = items.get("use_sde")
    fields = Fields(
        policy=policy,
        is_inferred=False,
        observation_space=values["observation_space"],
        action_space=values["action_space"],
        arguments=_arguments(values["policy_kwargs"], f"{path}: policy_kwargs"),
        texts=_texts(items["policy_kwargs"]),
        use_sde=use_sde if isinstance(use_sde, bool) else None,
        exploration_rate=items.get("exploration_rate"),
    )
    normalised = items.get("_last_original_obs") is not None and ON_POLICY.issuperset(FAMILIES[policy].algorithms)
    unknown = normalised and options.vecnormalize is None
    if unknown and options.strict:
        findings.unsupported(STATISTICS_UNKNOWN)
    assumed = [STATISTICS_UNKNOWN] if unknown else []
    origin = make_origin(path, data, FORMAT, _versions(archive), assumed)
    return translate_fields(fields, file, origin, options, findings)


def _tensors(archive: Archive, where: str) -> TensorFile:
    return without_compile(read_tensors(archive.read("policy.pth"), where), where)


def _items(archive: Archive, where: str) -> Mapping[str, object]:
    """
    The JSON object in the member `data`.
    """
    if archive.size("data") > MOST_JSON_BYTES:
        finding = f"the member 'data' has {archive.size('data'):,} bytes; at most {MOST_JSON_BYTES:,} are read"
        raise CheckpointError(where, finding)
    content = bytes(archive.read("data"))
    # Every value but the first follows one of these.
    if sum(content.count(mark) for mark in (b",", b":", b"[", b"{")) > MOST_JSON_VALUES:
        raise CheckpointError(where, f"the member 'data' has more than {MOST_JSON_VALUES:,} values")
    try:
        items = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(where, f"the member 'data' is not JSON: {quote(str(error))}") from None
    if not isinstance(items, dict):
        raise CheckpointError(where, "the member 'data' is not a JSON object")
    return items


def _value(items: Mapping[str, object], name: str, where: str) -> object:
    """
    One field, decoded if it is pickled.
    """
    if name not in items:
        raise CheckpointError(where, f"the member 'data' has no {name}")
    item = items[name]
    if not isinstance(item, dict) or PICKLED not in item:
        return item
    content = item[PICKLED]
    try:
        if not isinstance(content, str):
            raise ValueError(f"found {type(content).__name__}")
        pickled = base64.b64decode(content, validate=True)
    except ValueError as error:
        raise CheckpointError(f"{where}: data: {name}", f"is not base64: {quote(str(error))}") from None
    return decode(pickled, f"{where}: data: {name}")


def _arguments(value: object, where: str) -> Mapping[str, object]:
    """
    policy_kwargs: a JSON object, a pickled dict, or null.
    """
    arguments: dict[str, object] = {}
    for name, argument in mapping({} if value is None else value, where).items():
        if not isinstance(name, str):
            raise CheckpointError(where, f"has the key {quote(name)}, which is not text")
        arguments[name] = argument
    return arguments


def _texts(item: object) -> Mapping[str, str]:
    """
    What SB3 printed of the values in a pickled dict, beside the pickle.
    """
    return {key: text for key, text in item.items() if isinstance(text, str)} if isinstance(item, dict) else {}


def _versions(archive: Archive) -> tuple[tuple[str, str], ...]:
    """
    The version of SB3 that wrote the file, if it says so and that looks like a version.
    """
    if VERSION not in archive or archive.size(VERSION) > 64:
        return ()
    text = bytes(archive.read(VERSION)).strip()
    return (("stable_baselines3", text.decode("ascii")),) if PLAIN_VERSION.fullmatch(text) else ()
