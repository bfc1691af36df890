"""
How kernels are compiled, and where the compiled code is kept between processes.

A kernel is translated when an entry point that calls it is compiled, which optimises all of them together. An entry
point is compiled at import, for one signature, and its machine code is cached on disk. Numba's cache files are pickles,
so the cache is used only where nobody else can write: `__pycache__` beside this file, else the user's cache folder,
else not at all. What is kept says nothing of the name by which the package was imported.
"""

import copy
import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import caching, codegen, environment, typed_passes, types, untyped_passes
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager

from . import lowering  # noqa: F401 - importing it is what makes Numba understand the words of simd.py

Function = TypeVar("Function", bound=Callable[..., Any])

PACKAGE = Path(__file__).resolve().parent


def _stamp() -> str:
    """
    What compiled code depends on: these sources, and what compiles them.
    """
    digest = hashlib.sha256(f"{numba.__version__} {sys.implementation.cache_tag}".encode())
    for path in sorted(PACKAGE.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


STAMP = _stamp()

_njit: Any = numba.njit
_config: Any = numba.config
_types: Any = types
_COMMON = {"error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False}


class _Translated(codegen.JITCodeLibrary):
    """
    What Numba's compiler makes of a kernel: LLVM's representation, as entry points take it in.

    Numba would optimise a kernel, and make machine code of it, alone and again with every function that calls it.
    """

    def _optimize_functions(self, ll_module: Any) -> None:
        pass

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """
        Nowhere: only an entry point is ever called.
        """
        return 0

    @property
    def codegen(self) -> Any:
        """
        Numba would tell the engine, which does not know this code, where what it has of Python lies: nothing.
        """
        return self

    def set_env(self, name: str, env: Any) -> None:
        """
        What `codegen` is asked for.
        """


class _Compiler(CompilerBase):
    """
    Numba's compiler with the passes that our code needs: it has no closures, generators, literals or exceptions.
    """

    def define_pipelines(self) -> list[PassManager]:
        """
        What Numba runs: one list of passes.
        """
        make: Any = PassManager
        manager = make("policyc")
        for step in (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.ReconstructSSA,
            typed_passes.NopythonTypeInference,
            typed_passes.PreLowerStripPhis,
            typed_passes.IRLegalization,
            typed_passes.NativeLowering,
            typed_passes.NoPythonBackend,
        ):
            manager.add_pass(step, step.__name__)
        manager.finalize()
        return [manager]


class _Translator(_Compiler):
    """
    The same for kernels.
    """

    def define_pipelines(self) -> list[PassManager]:
        """
        The same passes, which fill the library that they find.
        """
        make: Any = _Translated
        self.state.library = make(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        return super().define_pipelines()


_TRANSLATED = {**_COMMON, "no_cpython_wrapper": True, "pipeline_class": _Translator}


def kernel(function: Function) -> Function:
    """
    Decorates a function that entry points call; when compiled, Python can't call it.
    """
    compiled: Any = _njit(**_TRANSLATED)(_named(function))
    if not _config.DISABLE_JIT:
        typed = compiled.get_call_template
        # Numba would compile a kernel once more for each constant that it is called with.
        compiled.get_call_template = lambda args, kws: typed([_types.unliteral(kind) for kind in args], kws)
    decorated: Function = compiled
    return decorated


def inline(function: Function) -> Function:
    """
    Decorates a function of vectors, which becomes part of every kernel that calls it.
    """
    compiled: Any = _njit(**_TRANSLATED, forceinline=True)(_named(function))
    decorated: Function = compiled
    return decorated


def entry(*arguments: Any, release_lock: bool = True) -> Callable[[Function], Function]:
    """
    Decorates a function that Python calls, and that returns an int.

    Args:
        arguments: the type of each argument: BUFFER for an array, NUMBER for an int.
        release_lock: let other Python threads run meanwhile; costs 30 ns.
    """

    def decorate(function: Function) -> Function:
        if _config.DISABLE_JIT:
            return _quiet(function)
        compiled: Any = _njit(**_COMMON, nogil=release_lock, pipeline_class=_Compiler)(_named(function))
        folder = _cache_folder()
        if folder is not None:
            compiled._cache = _Cache(function, folder)
        compiled.compile(_types.int64(*arguments))
        (only,) = compiled.overloads.values()
        # Numba's dispatcher would look at the types of the arguments first, which takes as long as a small network.
        decorated: Function = only.entry_point
        return decorated

    return decorate


def _named(function: Function) -> Function:
    """
    The function under a name that no function of another package has, which its symbols are made of.

    All compiled code of a process has one table of symbols, in which the first of a name serves all.
    """
    function.__qualname__ = f"{function.__name__}_{STAMP[:16]}"
    return function


def _quiet(function: Function) -> Function:
    """
    The plain function, as silent about overflow and NaN as the compiled one.
    """
    quiet: Any = np.errstate(all="ignore")(function)
    decorated: Function = quiet
    return decorated


def _cache_folder() -> Path | None:
    """
    Where compiled code may be kept: a folder that only this user (or root) can write to.
    """
    for folder in _candidates():
        with suppress(OSError):  # a read-only place may still hold what was compiled there before
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        if _is_private(folder) and _is_private(folder.parent):
            return folder
    return None


def _candidates() -> Iterator[Path]:
    yield PACKAGE / "__pycache__"
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if home.is_absolute():  # it is not where nobody knows a home
        yield home / "policyc" / STAMP[:32]


def _is_private(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):
        return stat.S_ISDIR(status.st_mode)  # on Windows a user's folders are the user's own
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid in (0, os.getuid()) and not others_write


class _Place:
    """
    Numba's name for a cache folder and the state of the sources: a locator.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get_cache_path(self) -> str:
        return str(self.folder)

    def get_source_stamp(self) -> str:
        return STAMP

    def get_disambiguator(self) -> str:
        return STAMP[:16]

    def ensure_cache_path(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)


class _Files(caching.CompileResultCacheImpl):
    """
    Numba's way of turning a compiled function into bytes and back, in our folder.
    """

    def __init__(self, function: Any, folder: Path) -> None:
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Place(folder)
        self._filename_base = f"{function.__name__}-{self._locator.get_disambiguator()}"
        self.signature: Any = None
        """What is asked for. Each function has only one."""

    def reduce(self, data: Any) -> tuple[Any, ...]:
        """
        What Numba keeps, without what would import the package by the name that it has now: types and environments.
        """
        reduce: Any = super().reduce
        library, description, own, _, *rest, others = reduce(data)
        description = copy.copy(description)
        description.argtypes = None
        return library, description, _name_of(own), *rest, [_name_of(other) for other in others]

    def rebuild(self, target_context: Any, payload: tuple[Any, ...]) -> Any:
        """
        The compiled function, with types and environments of this module.
        """
        library, description, own, *rest, others = payload
        description.argtypes = self.signature.args
        around = [_environment(other) for other in others]
        rebuild: Any = super().rebuild
        return rebuild(target_context, (library, description, _environment(own), self.signature, *rest, around))


def _name_of(found: Any) -> str:
    """
    What an environment is found by. It holds no values: entry points have nothing to do with Python's objects.
    """
    if found.consts:
        raise ValueError("has constants of Python")
    return str(found.env_name)


def _environment(name: str) -> Any:
    """
    What Numba's code has of the module that it was written in.
    """
    known: Any = environment.Environment
    found = known._memo.get(name)
    if found is None:
        found = known(globals())
        found.env_name = name
        known._memo[name] = found
    return found


class _Cache(caching.FunctionCache):
    """
    Numba's cache of one function in our folder, read without the 130 ms that Numba takes to get ready to compile.
    """

    def __init__(self, function: Any, folder: Path) -> None:
        self._impl_class: Any = lambda function: _Files(function, folder)
        start: Any = super().__init__
        start(function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """
        The compiled function, or None where there is none that can be used.
        """
        self._impl.signature = sig
        load: Any = self._load_overload
        try:
            return load(sig, target_context)
        except Exception:  # a damaged file: compile anew
            flush: Any = self.flush
            with suppress(OSError):
                flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """
        Keeps the compiled function, if the folder can be written to.

        Not if it refers to Numba's runtime, as it does under NUMBA_OPT=0: where that is not ready, loading it would end
        the process.
        """
        if b"NRT_" in data.library._get_compiled_object():
            return
        save: Any = self._save_overload
        with suppress(Exception):  # it can't be written to, or what lies there is damaged
            save(sig, data)

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        """
        What code is found by; the stamp stands for everything else.
        """
        return str(sig), codegen.magic_tuple()
