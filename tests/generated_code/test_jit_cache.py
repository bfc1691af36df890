"""
Where compiled code is kept, when it is used, and that nobody else's is.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler import BuildError, package
from compiler.loading import imported
from tests.models import observations, policy, write
from tests.thorough import THOROUGH, chosen

NAME = "agent"
MODEL = policy((4,), (3,), 2, head="softmax")

CHILD = """
import json, os, sys
import numpy as np
import numba.core.compiler

compiled = []
compile_extra = numba.core.compiler.compile_extra

def counted(*arguments, **options):
    compiled.append(arguments[2].__name__)
    return compile_extra(*arguments, **options)

numba.core.compiler.compile_extra = counted
known = set(sys.modules)
{before}
import {name}
from {name} import jit

rows = np.array(json.loads({rows!r}), np.float32)
folder = jit._cache_folder() if hasattr(jit, "_cache_folder") else None
print(json.dumps({{
    "compiled": compiled,
    "folder": str(folder) if folder else None,
    "new modules": sorted({{module.split(".")[0] for module in set(sys.modules) - known}}),
    "act": [{name}.act(row) for row in rows],
    "predict": {name}.predict(rows)[0].tolist(),
    "scores": {name}.scores(rows).tobytes().hex(),
    "single": [{name}.scores(row).tobytes().hex() for row in rows],
}}))
"""

READ_ONLY = """
import builtins, errno

def guard(function, writes):
    def call(*arguments, **options):
        if writes(*arguments, **options):
            raise OSError(errno.EROFS, "Read-only file system", str(arguments[0]))
        return function(*arguments, **options)
    return call

builtins.open = guard(open, lambda path, mode="r", *rest, **options: set(mode) & set("wax+"))
for name in ("mkdir", "replace", "rename", "unlink", "chmod"):
    setattr(os, name, guard(getattr(os, name), lambda *arguments, **options: True))
"""
NOBODY_KNOWS_A_HOME = """
import pwd

def unknown(uid):
    raise KeyError(uid)

pwd.getpwuid = unknown
os.environ.pop("HOME", None)
"""


class Bomb:
    """
    A pickle that leaves a mark when it is loaded.
    """

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return observations(MODEL, 70)


@pytest.fixture(scope="module")
def primed(tmp_path_factory, rows) -> tuple[Path, dict[str, Any]]:
    """
    A folder with a package that has been imported once, and what it said then.
    """
    folder = tmp_path_factory.mktemp("primed")
    write(folder / NAME, MODEL)
    (folder / NAME).chmod(0o755)
    first = run(folder, rows)
    assert {"predict_rows", "act_one"} <= set(first["compiled"])
    assert first["folder"] == str(folder.resolve() / NAME / "__pycache__")
    return folder, first


@pytest.fixture
def folder(primed, tmp_path) -> Path:
    """
    A copy of the primed package, compiled code included, in another place.
    """
    shutil.copytree(primed[0] / NAME, tmp_path / NAME)
    (tmp_path / NAME / "__pycache__").chmod(0o755)
    return tmp_path


def run(folder: Path, rows: np.ndarray, before: str = "", name: str = NAME, **variables: str | None) -> dict[str, Any]:
    """
    Imports the package of a folder in a process of its own.
    """
    script = CHILD.format(before=before, name=name, rows=json.dumps(rows.tolist()))
    environment = os.environ | {"HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    environment = {key: value for key, value in environment.items() if not key.startswith(("XDG_", "NUMBA_"))}
    for key, value in variables.items():
        if value is None:
            environment.pop(key, None)
        else:
            environment[key] = value
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, env=environment, cwd=folder
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def interpreted(quick: bool) -> dict[str, str | None]:
    """
    Variables of a process that looks for a place and compiles nothing: that one uses no other place, others show.
    """
    return {"NUMBA_DISABLE_JIT": "1"} if quick and not THOROUGH else {}


def answers(said: dict[str, Any]) -> tuple[Any, ...]:
    return said["act"], said["predict"], said["scores"], said["single"]


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def cached(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".nbi", ".nbc"))
    assert found
    return found


def test_the_second_import_compiles_nothing(primed, rows):
    folder, first = primed
    before = content(folder)
    second = run(folder, rows)
    assert second["compiled"] == []
    assert answers(second) == answers(first)
    assert content(folder) == before


def test_a_copy_elsewhere_uses_what_was_copied_with_it(folder, primed, rows):
    said = run(folder, rows)
    assert said["compiled"] == []
    assert answers(said) == answers(primed[1])


def test_an_import_needs_numpy_and_numba_alone(primed):
    # What numba and numpy bring themselves is there before; `known` in CHILD leaves it out.
    allowed = {NAME} | set(sys.stdlib_module_names) | {"numpy", "numba", "llvmlite"}
    for part in primed[1]["new modules"]:
        assert part in allowed or part.startswith(("_", "cython_runtime", "numba")), part


def test_a_read_only_package_uses_its_compiled_code(folder, primed, rows):
    before = content(folder)
    said = run(folder, rows, READ_ONLY)
    assert said["compiled"] == []
    assert answers(said) == answers(primed[1])
    assert content(folder) == before


@pytest.mark.parametrize("place", ["read-only", "no home", "a file for a home", "a relative home"])
def test_no_place_to_keep_compiled_code(place, folder, primed, rows):
    shutil.rmtree(folder / NAME / "__pycache__")
    (folder / NAME).chmod(0o775)  # others of the group could write: nothing is kept beside the sources
    (folder / "file").write_text("")
    places: dict[str, tuple[str, dict[str, str | None]]] = {
        "read-only": (READ_ONLY, {}),
        "no home": (NOBODY_KNOWS_A_HOME, {}),
        "a file for a home": ("", {"HOME": None, "XDG_CACHE_HOME": str(folder / "file")}),
        "a relative home": ("", {"XDG_CACHE_HOME": "relative"}),
    }
    before, variables = places[place]
    said = run(folder, rows, before, NAME, **variables, **interpreted(place != "read-only"))
    assert said["folder"] is None
    assert bool(said["compiled"]) is (place == "read-only" or THOROUGH)
    assert answers(said) == answers(primed[1])
    assert not [path for path in folder.rglob("*") if path.suffix in (".nbi", ".nbc")]


def test_the_users_cache_folder_is_the_second_choice(folder, primed, rows):
    # Many systems let the group write what a user makes: that must not keep the user's own folder from being used.
    (folder / NAME / "__pycache__").chmod(0o775)
    home = folder / "cache"
    for expected in (True, False):
        said = run(folder, rows, "os.umask(0o002)", XDG_CACHE_HOME=str(home))
        assert said["folder"].startswith(str(home / "policyc"))
        assert bool(said["compiled"]) is expected
        assert answers(said) == answers(primed[1])
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in (home / "policyc", Path(said["folder"])))
    cached(home)


def untrusted(kind: str, folder: Path) -> str:
    """
    Makes the cache folder one that must not be trusted; what the child has to do for that.
    """
    place = folder / NAME / "__pycache__"
    if kind == "group":
        place.chmod(0o775)
    elif kind == "others":
        place.chmod(0o757)
    elif kind == "package":
        place.parent.chmod(0o777)
    elif kind == "link":
        place.rename(folder / "elsewhere")
        place.symlink_to(folder / "elsewhere")
    elif os.getuid() == 0:
        os.chown(place if kind == "owner" else place.parent, 54321, -1)
    else:
        return "os.getuid = lambda: 54321"
    return ""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs the owners and modes of POSIX")
@pytest.mark.parametrize("kind", ["group", "others", "package", "link", "owner", "owner of the package"])
def test_a_folder_that_others_can_write_is_neither_read_nor_written(kind, folder, primed, rows):
    mark = folder / "mark"
    for path in cached(folder):
        path.write_bytes(pickle.dumps(Bomb(mark)))
    before = untrusted(kind, folder)
    planted = content(folder)
    quick = kind not in ("group", "link", "owner of the package")
    said = run(folder, rows, before, NAME, XDG_CACHE_HOME=str(folder / "file"), **interpreted(quick))
    assert said["folder"] is None or "__pycache__" not in said["folder"]
    assert bool(said["compiled"]) is (not quick or THOROUGH)
    assert answers(said) == answers(primed[1])
    assert not mark.exists()
    assert {name: found for name, found in content(folder).items() if name in planted} == planted


def test_the_planted_file_would_have_been_loaded(folder, rows):
    # The test above can fail: from a folder of one's own the same file is loaded.
    for path in cached(folder):
        path.write_bytes(pickle.dumps(Bomb(folder / "mark")))
    run(folder, rows)
    assert (folder / "mark").exists()


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_damaged_files_are_replaced(suffix, folder, primed, rows):
    damages = [
        lambda data: data[: len(data) // 2],  # two at a time: there are two entry points
        lambda data: data[:-1],
        lambda data: b"garbage" * 100,
        lambda data: pickle.dumps(("0.0", 1)),
        *chosen((lambda data: b"", lambda data: bytes(len(data)))),
    ]
    while damages:
        for path in cached(folder):
            if path.suffix == suffix:
                path.write_bytes(damages.pop()(path.read_bytes()))
        said = run(folder, rows)
        assert {"predict_rows", "act_one"} <= set(said["compiled"])
        assert answers(said) == answers(primed[1])
    assert run(folder, rows)["compiled"] == []


def test_the_first_import_after_a_build_compiles_nothing(tmp_path, rows):
    built = compiler.build(MODEL, out=tmp_path, name=NAME, verify_observations=20)
    assert {path.suffix for path in (built.path / "__pycache__").iterdir()} == {".nbi", ".nbc"}
    assert run(tmp_path, rows)["compiled"] == []


@pytest.mark.skipif(not hasattr(os, "umask"), reason="needs the modes of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o077, 0o700), (0o002, 0o755)])
def test_who_may_read_a_package_may_read_its_compiled_code(umask, mode, tmp_path):
    """
    In a container the build is often run by root, and the predictor by somebody else.
    """
    before = os.umask(umask)
    try:
        (tmp_path / ".work" / NAME / "__pycache__").mkdir(parents=True, mode=0o700)
        (tmp_path / ".work" / NAME / "__pycache__" / "act_one.nbi").touch()
        package.place(tmp_path / ".work" / NAME, tmp_path / NAME)
    finally:
        os.umask(before)
    assert (tmp_path / NAME / "__pycache__").stat().st_mode & 0o777 == mode


def test_another_name_uses_what_is_compiled(folder, primed, rows):
    before = content(folder)
    (folder / "models").mkdir()
    (folder / NAME).rename(folder / "models" / "other")
    said = run(folder, rows, name="models.other")
    assert said["compiled"] == []
    assert answers(said) == answers(primed[1])
    (folder / "models" / "other").rename(folder / NAME)
    (folder / "models").rmdir()
    assert content(folder) == before


def test_packages_of_one_name_have_kernels_of_their_own(rows, tmp_path):
    """
    One after the other in one process, both from what other processes compiled, where symbols could be the same.
    """
    for name, activation in (("first", "tanh"), ("second", "relu")):
        write(tmp_path / name / NAME, policy((4,), (3,), 2, head="softmax", activations=activation))
        (tmp_path / name / NAME).chmod(0o755)

    def asked(*names):
        script = f"""
import numpy as np
from pathlib import Path
from compiler.loading import imported
for name in {names}:
    with imported(Path(name) / {NAME!r}) as module:
        print(module.scores(np.array({rows.tolist()}, np.float32)).tobytes().hex())
"""
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
        assert found.returncode == 0, found.stderr
        return found.stdout.split()

    alone = asked("first") + asked("second")
    assert alone[0] != alone[1]
    assert asked("first", "second") == alone


def test_another_source_compiles_anew(folder, primed, rows):
    entries = folder / NAME / "entries.py"
    text = entries.read_text()
    edited = text.replace("return int(load_scalar(", "return 40 + int(load_scalar(")
    assert edited != text
    entries.write_text(edited)
    said = run(folder, rows)
    assert said["compiled"]
    assert said["act"] == [action + 40 for action in primed[1]["act"]]
    entries.write_text(text)
    said = run(folder, rows)
    assert said["compiled"] == []
    assert answers(said) == answers(primed[1])


def test_without_compilation_the_answers_are_the_same(folder, primed, rows):
    threads = f"import {NAME}.predictor as face\nface.THREADS_FROM = 20"
    for before in ("", threads):
        said = run(folder, rows, before, NUMBA_DISABLE_JIT="1")
        assert said["compiled"] == []
        assert answers(said) == answers(primed[1])


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "missing", "longer"])
def test_a_damaged_model_file_is_refused(damage, tmp_path):
    folder = write(tmp_path / NAME, MODEL, plain=True)
    path = folder / "model.bin"
    data = path.read_bytes()
    damaged = {
        "flipped": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        "truncated": data[:-64],
        "empty": b"",
        "missing": None,
        "longer": data + b"\0",
    }[damage]
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged)
    with pytest.raises(BuildError, match=r"ImportError: .*model\.bin: .*build the predictor again"), imported(folder):
        pass
    path.write_bytes(data)
    with imported(folder) as module:
        assert module.predict(np.zeros(4))[0].shape == ()
