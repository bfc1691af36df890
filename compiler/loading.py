"""
Imports a generated package from wherever it lies, without a trace in the import system that outlives its use.
"""

import importlib.util
import itertools
import linecache
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from compiler.errors import BuildError, quote

MANIFEST = "manifest.json"
SHOWN = 5
"""Packages in a folder, in a message."""

_extensions: set[Path] = set()
"""Those that this process has loaded."""


@contextmanager
def imported(folder: Path, **modules: ModuleType) -> Iterator[ModuleType]:
    """
    The package of a folder under a private name, for as long as the block runs.

    Args:
        folder: the package.
        modules: what it imports of itself and has no file for, by its name in the package.

    Afterwards `sys.modules` and the caches of the import system know nothing of the folder. What importing writes
    (bytecode, Numba's compiled kernels) stays in the folder's own `__pycache__`, if nobody else can write there.
    """
    name = _unused("_policyc_package", folder)
    sys.modules |= {f"{name}.{own}": module for own, module in modules.items()}
    try:
        yield _execute(folder, name)
    finally:
        _forget(name)
        _forget_files(folder)


def load(folder: Path, name: str) -> ModuleType:
    """
    Imports a package fresh, under its own name.

    It stays in `sys.modules`, since it imports some of its modules when they are first needed. Where the name is taken
    there, by an earlier load or by a module that has nothing to do with it, a number is added.
    """
    own = _unused(name, folder)
    try:
        return _execute(folder, own)
    except BaseException:
        _forget(own)
        raise


def unload(package: ModuleType) -> None:
    """
    Takes a package that `load` imported out of `sys.modules`; who has it can still call what it imported.
    """
    _forget(package.__name__)


def no_package(folder: Path) -> str:
    """
    Why a path that was given as a package is none, and which one may have been meant.
    """
    if folder.is_file():
        return "it is a file; name the folder that policyc build makes of it"
    if not folder.is_dir():
        return "there is no such folder"
    if (folder / MANIFEST).exists():
        return f"its {MANIFEST} is of something else"
    inside = ", ".join(quote(str(path.parent)) for path in sorted(folder.glob(f"*/{MANIFEST}"))[:SHOWN])
    return f"there is no {MANIFEST}" + (f" in it, but in {inside}" if inside else "")


def _unused(name: str, folder: Path) -> str:
    """
    The name, or the name with a number, that no module but this package has or would have when imported.
    """

    def free(own: str) -> bool:
        if own in sys.modules:
            return False
        found = importlib.util.find_spec(own)
        return found is None or found.origin == str(folder.absolute() / "__init__.py")

    return next(filter(free, itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))))


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
        for extension in folder.absolute().glob("_native.*.so"):
            if extension in _extensions:
                _load_again(extension, f"{name}._native")
            _extensions.add(extension)
        specification.loader.exec_module(module)
    except Exception as error:
        raise BuildError(
            quote(folder.name), f"can't be imported: {type(error).__name__}: {quote(str(error), 300)}"
        ) from error
    return module


def _load_again(extension: Path, name: str) -> None:
    """
    Imports what lies now where an extension was that is loaded.

    The system's loader knows libraries by their paths: by the same one it would give back the former. A link's path is
    another, and where both are one file the loader finds that out.
    """
    with tempfile.TemporaryDirectory(prefix="policyc-") as folder:
        link = Path(folder) / extension.name
        link.symlink_to(extension)
        specification = importlib.util.spec_from_file_location(name, link)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
    module.__file__ = specification.origin = str(extension)
    sys.modules[name] = module


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
