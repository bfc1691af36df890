"""
Imports a generated package from wherever it lies, without a trace in the import system that outlives its use.
"""

import importlib.util
import itertools
import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from compiler.errors import BuildError, quote

_numbers = itertools.count()


@contextmanager
def imported(folder: Path) -> Iterator[ModuleType]:
    """
    The package of a folder under a private name, for as long as the block runs.

    What importing writes (bytecode, Numba's compiled kernels) stays in the folder's own `__pycache__`; `sys.modules`
    and the caches of the import system know nothing of the folder afterwards.
    """
    name = f"_policyc_package_{next(_numbers)}"
    with _numba_cache_in(folder / "__pycache__"):
        try:
            yield _execute(folder, name)
        finally:
            _forget(name)
            _forget_files(folder)


def load(folder: Path, name: str) -> ModuleType:
    """
    Imports a package fresh, under its own name.

    It stays in `sys.modules` so that a later `import NAME` finds it, unless a module that is not a predictor has the
    name already (a package may be called `json`).
    """
    before = _modules_of(name)
    _forget(name)
    foreign = name in before and not hasattr(before[name], "SPEC")
    loaded = False
    try:
        module = _execute(folder, name)
        loaded = True
    finally:
        if foreign or not loaded:
            _forget(name)
            sys.modules.update(before)
    return module


def _execute(folder: Path, name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if specification is None or specification.loader is None or not (folder / "__init__.py").is_file():
        raise BuildError(quote(str(folder)), "is not a Python package: it has no __init__.py")
    importlib.invalidate_caches()
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise BuildError(
            quote(folder.name), f"can't be imported: {type(error).__name__}: {quote(str(error), 300)}"
        ) from error
    return module


def _modules_of(name: str) -> dict[str, ModuleType]:
    return {key: module for key, module in sys.modules.items() if key == name or key.startswith(f"{name}.")}


def _forget(name: str) -> None:
    for key in _modules_of(name):
        del sys.modules[key]


def _forget_files(folder: Path) -> None:
    caches: tuple[dict[str, object], ...] = (sys.path_importer_cache, linecache.cache)  # type: ignore[assignment]
    for cache in caches:
        for key in [key for key in cache if Path(key).is_relative_to(folder)]:
            del cache[key]


@contextmanager
def _numba_cache_in(folder: Path) -> Iterator[None]:
    """
    Numba may be told by the environment to keep its cache elsewhere; nothing of a temporary folder belongs there.
    """
    before = os.environ.get("NUMBA_CACHE_DIR")
    if before is None:
        yield
        return
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    _reread_numba_settings()
    try:
        yield
    finally:
        os.environ["NUMBA_CACHE_DIR"] = before
        _reread_numba_settings()


def _reread_numba_settings() -> None:
    """
    Tells Numba, where it is imported already, that its environment variables have changed.
    """
    settings = sys.modules.get("numba.core.config")
    if settings is not None:
        settings.reload_config()
