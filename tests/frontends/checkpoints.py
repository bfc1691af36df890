"""
Checkpoints for the frontend's tests: agents of the golden tests, saved, and changed before they are read.
"""

import base64
import functools
import io
import json
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch

from compiler.errors import CheckpointError, PolicycError
from tests.golden.agents import make, model_of

State = OrderedDict[str, torch.Tensor]


@functools.cache
def members(name: str) -> Mapping[str, bytes]:
    """
    The members of the zip of a golden agent.
    """
    buffer = io.BytesIO()
    make(name).save(buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {member: archive.read(member) for member in archive.namelist()}


def state_of(name: str) -> State:
    """
    The state dict of a golden agent, with the list of modules that torch attaches to it.
    """
    return torch.load(io.BytesIO(members(name)["policy.pth"]), weights_only=True)


def saved(state: Any) -> bytes:
    """
    What torch.save writes.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def pickled(value: object, **texts: str) -> dict[str, str]:
    """
    A field of `data` as SB3 writes it.
    """
    content = base64.b64encode(cloudpickle.dumps(value)).decode()
    return {":type:": str(type(value)), ":serialized:": content, **texts}


def file_of(folder: Path, content: object) -> Path:
    """
    A file that torch.save wrote.
    """
    path = folder / "policy.pth"
    path.write_bytes(saved(content))
    return path


def bare_file(folder: Path, name: str, change: Callable[[State], object] = lambda state: None) -> Path:
    """
    The policy.pth of a golden agent, its state dict changed in place.
    """
    state = state_of(name)
    change(state)
    return file_of(folder, state)


def zip_file(
    folder: Path,
    name: str,
    change: Callable[[State], object] = lambda state: None,
    fields: Mapping[str, object] | None = None,
    **replaced: bytes | None,
) -> Path:
    """
    The zip of a golden agent.

    Args:
        folder: where to write it.
        name: of the recipe.
        change: applied to the state dict.
        fields: of `data` that are set; a value of `...` removes one.
        replaced: members by name, with `_` for `.`; None removes one.
    """
    content = dict(members(name))
    state = state_of(name)
    change(state)
    data = json.loads(content["data"]) | dict(fields or {})
    content["policy.pth"] = saved(state)
    content["data"] = json.dumps({key: value for key, value in data.items() if value is not ...}).encode()
    path = folder / "agent.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for member, old in content.items():
            new = replaced.get(member.replace(".", "_"), old)
            if new is not None:
                archive.writestr(member, new)
    return path


def with_arguments(folder: Path, name: str = "ppo_default", **arguments: object) -> Path:
    """
    The zip of an agent with other policy_kwargs, as SB3 writes them.
    """
    texts = {key: str(value) for key, value in arguments.items()}
    return zip_file(folder, name, fields={"policy_kwargs": pickled(arguments, **texts)})


def refusal(path: Path, kind: type[PolicycError] = CheckpointError, **options: Any) -> list[str]:
    """
    The findings with which a checkpoint is refused, for an error of exactly this kind.
    """
    with pytest.raises(kind) as error:
        model_of(path, **options)
    assert type(error.value) is kind
    assert error.value.where == str(path)
    return list(error.value.findings)
