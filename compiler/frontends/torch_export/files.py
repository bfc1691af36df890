"""
A .pt2 file, as torch.export.save writes it, to a model.
"""

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from compiler.errors import CheckpointError, PolicycError, UnsupportedError, quote
from compiler.frontends.operations import Inventory
from compiler.frontends.source import Ask
from compiler.frontends.torch_export.listing import inventory
from compiler.frontends.torch_export.program import translate
from compiler.frontends.torch_export.quiet import quietly
from compiler.frontends.torch_export.running import asking
from compiler.frontends.torch_export.screening import description, screened
from compiler.ir import Model, Origin
from compiler.ops import Array
from compiler.options import BuildOptions
from compiler.readers.archive import Archive

FORMAT = "torch-export"
PROGRAM = re.compile(r"[^/]+/models/([^/]+)\.json")
PLAIN_VERSION = re.compile(r"[0-9A-Za-z.+-]{1,40}")
OLD = "serialized_exported_program.json"
"""The member that holds the program in files of torch 2.7 and before."""


def read(data: memoryview, path: Path, options: BuildOptions) -> tuple[Model, Ask]:
    """
    The model of an exported program, and what torch answers.

    Raises:
        CheckpointError: the file is damaged.
        UnsupportedError: it holds what can't be compiled, or what only a trusted file may.
    """
    where = str(path)
    program, version = load(data, path, trust=options.trust)
    versions = (("torch", version),) if PLAIN_VERSION.fullmatch(version) else ()
    origin = Origin(path.name, hashlib.sha256(data).hexdigest(), FORMAT, versions)
    try:
        model = translate(
            program, path.stem, origin, allow_nonfinite=options.allow_nonfinite_weights, longest=options.longest
        )
        return model, asking(program, where, [state.name for state in model.states])
    except PolicycError:
        raise
    except Exception as error:  # a program that torch loads, and then can't work with
        found = f"{type(error).__name__}: {quote(str(error), 300)}"
        raise CheckpointError(where, f"contradicts itself: torch {torch.__version__} can't use it: {found}") from error


def operations(data: memoryview, path: Path, options: BuildOptions) -> Inventory:
    """
    The operations of a .pt2 file.
    """
    program, _ = load(data, path, trust=options.trust)
    return inventory(program, str(path), FORMAT)


def read_extractor(
    data: memoryview, path: Path, tensors: Mapping[str, Array]
) -> tuple[Model, dict[str, Array], list[str]]:
    """
    The model of a features extractor, its tensors, and the keys of the dict that it takes, if it takes one.
    """
    program, _ = load(data, path, trust=False)
    known = program.state_dict
    for name, array in tensors.items():
        if name in known and tuple(known[name].shape) == array.shape:
            known[name].data.copy_(torch.tensor(array))
    model = translate(program, path.stem, Origin(path.name, hashlib.sha256(data).hexdigest(), FORMAT))
    numbers = list(range(len(program.graph_signature.user_inputs)))
    arguments, _ = pytree.tree_unflatten(numbers, program.call_spec.in_spec)
    taken = arguments[0] if len(arguments) == 1 else None
    keys = sorted(taken, key=taken.__getitem__) if isinstance(taken, dict) else []
    return model, {name: _plain(value) for name, value in known.items()}, keys


def _plain(value: torch.Tensor) -> Array:
    """
    A tensor as NumPy has it, halves as float32.
    """
    value = value.detach().cpu()
    array: Array = (value.float() if value.is_floating_point() else value).numpy()
    return array


def load(data: memoryview, path: Path, *, trust: bool) -> tuple[ExportedProgram, str]:
    """
    An exported program and the version of torch that wrote it.
    """
    where = str(path)
    archive = Archive.open(data, where)
    version = _version(archive, where, trust)
    content = bytes(data) if trust else screened(archive, where)
    try:
        with quietly():
            return torch.export.load(io.BytesIO(content)), version
    except PolicycError:
        raise
    except Exception as error:  # whatever torch makes of a file that is damaged, or of another version
        found = f"torch {torch.__version__} can't load it: {type(error).__name__}: {quote(str(error), 300)}"
        wrote = f"; it was written by torch {quote(version)[1:-1]}" if version else ""
        raise CheckpointError(where, f"{found}{wrote}") from error


def _version(archive: Archive, where: str, trust: bool) -> str:
    """
    What wrote the archive; refuses those that hold no program, several, or one in the old form.
    """
    programs = {match[1]: match[0] for match in map(PROGRAM.fullmatch, archive.names) if match}
    if OLD in archive:
        if trust:
            return ""
        raise UnsupportedError(
            where, "was written by torch 2.7 or before, with its weights in a pickle: export it anew, or pass --trust"
        )
    if "model" not in programs:
        listed = ", ".join(map(quote, programs)) or "none"
        raise UnsupportedError(
            where, f"must hold one program, called 'model', as torch.export.save writes; found {listed}"
        )
    return str(description(archive, programs["model"], where).get("torch_version") or "")
