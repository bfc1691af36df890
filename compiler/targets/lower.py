"""
Compiles kernels to object files for other processors: a process of its own, started by `objects`.

Numba translates the functions of `exports.py` to LLVM's representation and does not optimise it, since its passes know
only the processor of this machine: NUMBA_OPT=0 and no vectoriser, set by whoever starts this. LLVM's own passes, with
the target's width and instructions, do that afterwards. What is particular to Python is removed: the wrappers become
internal and disappear, and the environment slots, `common` globals that not every object format has, become internal.
"""

import gc
import importlib.util
import inspect
import multiprocessing
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import llvmlite.binding as llvm
import numba
from numba.core import codegen, typed_passes, types, untyped_passes
from numba.core.compiler import CompilerBase
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager

from compiler.targets import job, narrow
from compiler.targets.job import Job

PACKAGE = "kernels"
"""What the package is called here, wherever it lies."""

_types: Any = types  # which Numba does not declare types for


def _only_translate() -> None:
    """
    Keeps Numba from optimising and from compiling for this machine, which takes as long as all the rest.
    """
    library: Any = codegen.JITCodeLibrary
    library._optimize_functions = lambda self, module: None
    library._optimize_final_module = lambda self: None
    library._finalize_specific = lambda self: None
    library.get_pointer_to_function = lambda self, name: 0
    engine: Any = codegen.JITCPUCodegen
    engine.set_env = lambda self, name, environment: None


def _remember_calls() -> None:
    """
    Lets Numba find out once what a function gives for arguments of some types.

    It would look through all that it knows for each call, which takes a fifth of the time. A number that is known is
    like any other to kernels.
    """
    functions: Any = _types.BaseFunction
    find = functions.get_call_type
    known: dict[Any, Any] = {}

    def remembered(self: Any, context: Any, args: Any, kws: Any) -> Any:
        plain = tuple(_types.unliteral(kind) if isinstance(kind, _types.IntegerLiteral) else kind for kind in args)
        key = (self, plain, tuple(sorted(kws.items())))
        if key not in known:
            known[key] = find(self, context, plain, kws)
        return known[key]

    functions.get_call_type = remembered


class _Translator(CompilerBase):
    """
    Numba's compiler with the passes that kernels need: they have no closures, generators, literals or exceptions.
    """

    def define_pipelines(self) -> list[PassManager]:
        make: Any = PassManager
        manager = make("kernels")
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


_njit: Any = numba.njit
_SETTINGS = {
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,
    "pipeline_class": _Translator,
}


def _decorators() -> ModuleType:
    """
    What stands in for `jit.py` of a package: its decorators, without a cache and without machine code.
    """
    module: Any = ModuleType(f"{PACKAGE}.jit")
    module.kernel = lambda function: _for_any_number(_njit(**_SETTINGS)(function))
    module.inline = _njit(**_SETTINGS, forceinline=True)
    return cast(ModuleType, module)


def _for_any_number(dispatcher: Any) -> Any:
    """
    Keeps Numba from translating a kernel once more for each constant that it is called with.
    """
    template = dispatcher.get_call_template
    dispatcher.get_call_template = lambda args, kws: template([_types.unliteral(kind) for kind in args], kws)
    return dispatcher


def main(jobs: list[Job]) -> int:
    """
    Does several jobs, at the same time; where processes can be forked, they share what it takes to start Numba.
    """
    if len(jobs) == 1:
        perform(jobs[0])
        return 0
    _only_translate()
    _start_numba()
    context: Any = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    processes = [context.Process(target=perform, args=(wanted,)) for wanted in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return 1 if any(process.exitcode for process in processes) else 0


def perform(wanted: Job) -> None:
    """
    Does one job.
    """
    _only_translate()
    _remember_calls()
    gc.disable()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    translated = [translate(function) for function in _exported(Path(wanted.package), wanted.exports)]
    Path(wanted.object).write_bytes(emit(linked(translated, wanted), wanted))


def _start_numba() -> None:
    """
    Translates something, for which Numba imports and registers what it does not at its own import.
    """

    def add(x: int, y: int) -> int:
        return x + y

    _njit(**_SETTINGS)(add).compile((_types.int64, _types.int64))


def _exported(folder: Path, names: Sequence[str]) -> list[Callable[..., int]]:
    module = _import(folder)
    return [getattr(module, name) for name in names]


def _import(folder: Path) -> ModuleType:
    """
    The module `exports` of a package that lies anywhere.
    """
    found = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert found is not None
    assert found.loader is not None
    package = importlib.util.module_from_spec(found)
    sys.modules |= {PACKAGE: package, f"{PACKAGE}.jit": _decorators()}
    found.loader.exec_module(package)
    importlib.import_module(f"{PACKAGE}.lowering")  # which makes Numba understand the words of simd.py
    return importlib.import_module(f"{PACKAGE}.exports")


def translate(function: Callable[..., int]) -> tuple[str, str, str, list[str]]:
    """
    The name of a function, LLVM's representation of it and all it calls, its name there, and its arguments' types.
    """
    numbers = [parameter.annotation is int for parameter in inspect.signature(function).parameters.values()]
    signature = _types.int64(*(_types.int64 if number else _types.CPointer(_types.float32) for number in numbers))
    compiled: Any = _njit(**_SETTINGS)(function)
    compiled.compile(signature)
    (only,) = compiled.overloads.values()
    with global_compiler_lock:
        only.library.finalize()  # brings in everything that it calls
    text = only.library.get_llvm_str()
    return function.__name__, text, only.fndesc.llvm_func_name, ["i64" if number else "ptr" for number in numbers]


_REARRANGING = r"kernels\d+(transpose|give_block)"
"""The functions that LLVM would make 2 KB of each for some per cent of a batch's time: they only move values."""


def linked(translated: list[tuple[str, str, str, list[str]]], wanted: Job) -> Any:
    """
    One module with a C function for each exported one, and everything else internal.
    """
    module = llvm.parse_assembly("")
    for name, text, mangled, arguments in translated:
        wrapper = _wrapper(f"{wanted.prefix}__{name}{wanted.suffix}", mangled, arguments)
        module.link_in(llvm.parse_assembly(_adapted(text + wrapper, wanted)))
    for function in module.functions:
        if function.is_declaration:
            continue
        if re.search(_REARRANGING, function.name):
            function.add_function_attribute("noinline")
            function.add_function_attribute("optsize")
        if function.name.startswith(f"{wanted.prefix}__"):
            function.visibility = "hidden"
        else:
            function.linkage = "internal"
    return module


def _wrapper(name: str, mangled: str, arguments: list[str]) -> str:
    """
    A function that C can call: Numba's own give their result through a pointer and return a status of theirs.
    """
    taken = ", ".join(f"{kind} %a{number}" for number, kind in enumerate(arguments))
    return f"""
define i64 @"{name}"({taken}) {{
  %result = alloca i64
  %failure = alloca ptr
  %status = call i32 @"{mangled}"(ptr %result, ptr %failure, {taken})
  %value = load i64, ptr %result
  ret i64 %value
}}
"""


def _adapted(text: str, wanted: Job) -> str:
    """
    What this machine's Numba wrote, without what other machines lack.
    """
    text = re.sub(r"^(target triple|target datalayout) = .*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"= common (local_unnamed_addr )?global ptr null", "= internal global ptr null", text)
    if not wanted.triple.startswith(platform.machine()):  # whose way of saying that a thread waits others do not know
        text = re.sub(r"^.*call void @llvm[.](x86[.]sse2[.]pause|aarch64[.]hint)\(.*$", "", text, flags=re.MULTILINE)
    if not wanted.fma:  # a product that is rounded before the sum, where the other would be a call of libm
        text = text.replace("@llvm.fma.", "@llvm.fmuladd.")
    if wanted.freestanding:  # no call of memset in the place of a loop
        text = re.sub(r"^(define .*) \{$", r'\1 "no-builtins" {', text, flags=re.MULTILINE)
    return narrow.convert(text) if wanted.narrow else text


def emit(module: Any, wanted: Job) -> bytes:
    """
    The object file.
    """
    machine = llvm.Target.from_triple(wanted.triple).create_target_machine(
        cpu=wanted.cpu,
        features=wanted.features,
        opt=3,
        reloc="static" if wanted.freestanding else "pic",
        codemodel="default",
    )
    module.triple, module.data_layout = wanted.triple, str(machine.target_data)
    # What must be inlined goes first: LLVM would otherwise weigh the calls of it when it decides about the callers.
    _run_passes(module, machine, llvm.create_pipeline_tuning_options(speed_level=0))
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    # Kernels put into registers themselves what belongs there; but they convert pixels one by one.
    tuning.loop_vectorization = any("_bytes" in function.name for function in module.functions)
    _run_passes(module, machine, tuning)
    if wanted.narrow:
        module = llvm.parse_assembly(narrow.count(str(module)))
    module.verify()
    data: bytes = machine.emit_object(module)
    return data


def _run_passes(module: Any, machine: Any, tuning: Any) -> None:
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)


if __name__ == "__main__":
    sys.exit(main(job.read(Path(sys.argv[1]))))
