"""
Policies that answer questions elsewhere: what the programs of these tests are given, and what they say.

A question is one observation with what goes with it, an answer what the C interface makes of it; both are structs in a
file, which C and NumPy lay out alike: every member at a multiple of 8 bytes.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler import modelfile, products, targets
from compiler.codegen.inputs import ArrayView
from compiler.codegen.native import C_TYPES, NativeView
from compiler.ir import Model
from compiler.options import BuildOptions
from compiler.pipeline import load_model, run_passes
from compiler.targets import Sources, c, toolchain

HERE = Path(__file__).parent
NAME = "policy"
ROWS = 1000
"""The most questions that a program is given."""
TIMEOUT = 100


@dataclass(frozen=True, eq=False)
class Policy:
    """
    A compiled policy: object files in a folder.
    """

    folder: Path
    sources: Sources
    objects: list[str]

    @property
    def view(self) -> NativeView:
        return self.sources.policy

    @property
    def question(self) -> np.dtype[Any]:
        """
        One question as NumPy sees it.
        """
        return _struct([("begins", "int64", 1), *_members(_memory(self.view) + self.view.given)])

    @property
    def answer(self) -> np.dtype[Any]:
        action, score = self.view.predictor.action, self.view.predictor.score
        results = [("action", action.dtype, action.count), ("scores", "float32", score.count)]
        return _struct([("status", "int64", 1), *results, *_members(_memory(self.view))])

    def questions(self, parts: list[npt.ArrayLike], memory: Any = None, begins: Any = 1) -> npt.NDArray[Any]:
        """
        Questions from the arrays that the interface takes, in its order; with the states of a recurrent policy.
        """
        count = len(np.asarray(parts[0]))
        asked = np.zeros(count, self.question)
        asked["begins"] = begins
        names = [array.name for array in _memory(self.view) + self.view.given]
        for name, values in zip(names, [*(memory or []), *parts], strict=True):
            asked[name] = np.asarray(values).reshape(asked[name].shape)
        return asked


def compiled(
    folder: Path, source: Path | Model, triple: str, cpu: str | None = None, name: str = NAME, **choices: Any
) -> Policy:
    """
    Compiles a policy for a triple, with everything that a program needs to ask it.
    """
    options, row = products.resolve(BuildOptions(target="c", triple=triple, cpu=cpu, **choices))
    assert row is not None
    read = source if isinstance(source, Model) else load_model(source, options)
    model = run_passes(products.reduced(read, options), options)
    sources = c.called(products.sources_of(model, modelfile.encode(model), options, row, name))
    folder.mkdir(parents=True)
    policy = Policy(folder, sources, targets.compiled(folder, sources))
    (folder / "replay_policy.h").write_text(_header(sources.policy), "utf-8")
    return policy


def program(policy: Policy) -> Path:
    """
    A program for Linux that answers questions.
    """
    (policy.folder / "replay.c").write_bytes((HERE / "replay.c").read_bytes())
    part = toolchain.compile_c(policy.folder, "replay.c", policy.sources.triple, f"-DROWS={ROWS}")
    toolchain.archive(policy.folder, "libpolicy.a", policy.objects)
    toolchain.link(policy.folder, "replay", [part, "libpolicy.a"], policy.sources.triple, "-static", "-nostdlib")
    return policy.folder / "replay"


def asked(policy: Policy, command: list[str], questions: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """
    What a program answers: one by one and, unless the policy is recurrent, all at once.
    """
    given = questions.tobytes()
    done = subprocess.run(command, input=given, capture_output=True, check=True, timeout=TIMEOUT)
    answers = np.frombuffer(done.stdout, policy.answer)
    return [answers[first : first + len(questions)] for first in range(0, len(answers), len(questions))]


def _members(arrays: list[ArrayView]) -> list[tuple[str, str, int]]:
    return [(array.name, array.dtype, array.count) for array in arrays]


def _memory(view: NativeView) -> list[ArrayView]:
    return [ArrayView(name, "float32", view.memory) for name in ("hidden", "cell")] if view.recurrent else []


def _struct(members: list[tuple[str, str, int]]) -> np.dtype[Any]:
    """
    A struct whose members all begin at multiples of 8.
    """
    offsets, end = [], 0
    for _, dtype, count in members:
        offsets.append(end)
        end += -(-np.dtype(dtype).itemsize * count // 8) * 8
    formats = [dtype if count == 1 else (dtype, (count,)) for _, dtype, count in members]
    names = [name for name, _, _ in members]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": end})


def _header(view: NativeView) -> str:
    """
    The structs in C, and how they are asked.
    """
    name, memory, predictor = view.name, _members(_memory(view)), view.predictor
    asked = memory + _members(view.given)
    given = [("action", predictor.action.dtype, predictor.action.count), ("scores", "float32", predictor.score.count)]
    remember = [_copied(f"state->{part}", f"asked->{part}") for part, _, _ in memory]
    report = [_copied(f"given->{part}", f"state->{part}") for part, _, _ in memory]
    values = ", ".join(f"asked->{part}" for part, _, _ in _members(view.given))
    return f"""\
/* What is asked of {name}, and what it says. */
#include "{name}.h"

void *memcpy(void *to, const void *from, size_t size);

typedef {name}_state policy_state;

typedef struct question {{
    _Alignas(8) int64_t begins;
    {_declared(asked)}
}} question;

typedef struct answer {{
    _Alignas(8) int64_t status;
    {_declared([*given, *memory])}
}} answer;

__attribute__((always_inline)) static inline void ask(policy_state *state, const question *asked, answer *given) {{
    if (asked->begins)
        {name}_reset(state);
    else {{ {" ".join(remember)} }}
    given->status = {name}_predict_scores(state, {values}, given->action, given->scores);
    {" ".join(report)}
}}
""" + (_batch(view) if view.batches else "")


def _declared(members: list[tuple[str, str, int]]) -> str:
    return " ".join(f"_Alignas(8) {C_TYPES[dtype]} {name}[{count}];" for name, dtype, count in members)


def _copied(target: str, source: str) -> str:
    return f"memcpy({target}, {source}, sizeof {target});"


def _batch(view: NativeView) -> str:
    """
    A function that asks all questions at once.
    """
    name, predictor = view.name, view.predictor
    arrays = _members(view.given)
    declared = [f"static {C_TYPES[dtype]} {part}[ROWS][{count}];" for part, dtype, count in arrays]
    gathered = [_copied(f"{part}[row]", f"asked[row].{part}") for part, _, _ in arrays]
    return f"""
#define BATCHES

static inline void ask_all(size_t count, const question *asked, answer *given) {{
    static float room[{view.macro}_BATCH_ROOM], scores[ROWS][{predictor.score.count}];
    static {C_TYPES[predictor.action.dtype]} action[ROWS][{predictor.action.count}];
    {" ".join(declared)}
    for (size_t row = 0; row < count; row++) {{
        {" ".join(gathered)}
    }}
    int64_t status = {name}_predict_batch(
        room, count, {", ".join(f"*{part}" for part, _, _ in arrays)}, *action, *scores);
    for (size_t row = 0; row < count; row++) {{
        given[row].status = status;
        {_copied("given[row].action", "action[row]")}
        {_copied("given[row].scores", "scores[row]")}
    }}
}}
"""
