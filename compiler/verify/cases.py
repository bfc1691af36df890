"""
What a predictor is asked: observations, with action masks or recurrent states where its policy takes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from compiler.errors import UnsupportedError
from compiler.ir import ACTION_MASKS, EPISODE_STARTS, Discrete, Model, MultiBinary, Policy, Space
from compiler.ops import OPS, Array
from compiler.verify.observations import (
    MOST_ALONE,
    Group,
    Statistics,
    Values,
    finite_values,
    nonfinite_values,
    values_out_of_range,
)

MULTIPLY_ADDS = 2_500_000_000
"""Of all cases together, for one evaluation of the reference: some seconds."""
ELEMENTS = 2**23
"""Of all observations together: 64 MB in float64."""
LEAST_CASES = 32
"""Random ones, however large the policy is."""
FEW_BELOW = 1000
"""Where no more than these can be afforded, there are fewer special ones as well."""
BEGINNINGS = 4


@dataclass(frozen=True)
class Cases:
    """
    A batch of what goes into a policy, with a word for each row that says how it was made.
    """

    values: Mapping[str, Array]
    """By the name of the model's input or state: (n, ...), observations in the dtype of their space."""
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.kinds)

    def only(self, rows: slice | Array) -> "Cases":
        """
        Some of them: a slice, those with these numbers, or those for which a mask is true.
        """
        numbers = np.arange(len(self))[rows]
        values = {name: array[numbers] for name, array in self.values.items()}
        return Cases(values, tuple(self.kinds[number] for number in numbers))

    def replaced(self, **values: Array) -> "Cases":
        """
        The same cases with other values for some inputs or states.
        """
        return Cases({**self.values, **values}, self.kinds)

    @classmethod
    def join(cls, *parts: "Cases") -> "Cases":
        """
        One batch after the other.
        """
        kinds = tuple(kind for part in parts for kind in part.kinds)
        return cls({name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values}, kinds)


def policy_of(model: Model) -> Policy:
    """
    The model's policy.

    Raises:
        UnsupportedError: for a model that is not one.
    """
    if model.policy is None:
        raise UnsupportedError(model.name, "is not a policy; only policies can be verified yet")
    return model.policy


def finite_cases(model: Model, count: int, seed: int) -> Cases:
    """
    The cases that a predictor must answer.

    Args:
        model: the policy.
        count: how many random ones, besides the special ones; fewer for a policy that takes long to compute.
        seed: of the random ones.

    Raises:
        UnsupportedError: for a model that is no policy.
    """
    rng = np.random.default_rng(seed)
    count, few = _affordable(model, count)
    sources = {
        name: finite_values(space, count, rng, few=few, statistics=_statistics(model, name))
        for name, space in policy_of(model).parts
    }
    alone = len(sources) == 1
    if ACTION_MASKS in model.inputs:
        sources[ACTION_MASKS] = _masks(model, count, rng)
    for state in model.states:
        sources[state.name] = _states(model.tensors[state.input].elements, count, rng)
    if EPISODE_STARTS in model.inputs:
        starts = rng.integers(0, 2, size=count).astype(np.float32)
        sources[EPISODE_STARTS] = Values([("random", starts)], [])
    cases = _together(sources, next(iter(sources.values())).random_kinds if alone else ["random"] * count)
    return Cases.join(cases, _beginnings(model, cases)) if model.states else cases


def nonfinite_cases(model: Model, finite: Cases, seed: int) -> Cases | None:
    """
    Cases with NaN or infinity in one part of the observation or in a recurrent state; None where nothing can hold it.

    Args:
        model: the policy.
        finite: what stands in all other inputs.
        seed: of the random ones.
    """
    rng = np.random.default_rng(seed)
    few = _affordable(model, len(finite))[1]
    groups = {name: nonfinite_values(space, rng, few=few) for name, space in policy_of(model).parts}
    for state in model.states:
        size = model.tensors[state.input].elements
        values = np.zeros((1, size), np.float32)
        values[0, int(rng.integers(size))] = np.nan
        groups[state.name] = [("NaN in one element", values)]
    starts = {EPISODE_STARTS: np.zeros(1, np.float32)} if EPISODE_STARTS in model.inputs else {}
    return _in_place_of(finite.only(slice(0, 1)).replaced(**starts), groups)


def cases_out_of_range(model: Model, finite: Cases) -> Cases | None:
    """
    Cases with a choice that an observation space does not have; None where none has choices.
    """
    groups = {name: values_out_of_range(space) for name, space in policy_of(model).parts}
    return _in_place_of(finite.only(slice(0, 1)), groups)


def choice_sizes(space: Space, logits: int) -> tuple[int, ...]:
    """
    How the scores of an action space divide into choices; of yes-or-no ones, a logit each or one for each answer.
    """
    match space:
        case Discrete(n=n):
            return (n,)
        case MultiBinary(shape=shape):
            return (logits // int(np.prod(shape)),) * int(np.prod(shape))
        case _:
            return tuple(getattr(space, "nvec", ()))


def _affordable(model: Model, count: int) -> tuple[int, bool]:
    """
    How many random cases are asked, and whether special ones are to be saved as well.
    """
    work = sum(
        OPS[node.op].multiply_adds([model.tensors[name] for name in node.inputs], node.attributes)
        for node in model.nodes
    )
    elements = sum(model.tensors[name].elements for name in model.inputs)
    most = max(LEAST_CASES, min(MULTIPLY_ADDS // max(work, 1), ELEMENTS // max(elements, 1)))
    return min(count, most), most < FEW_BELOW


def _statistics(model: Model, name: str) -> Statistics | None:
    """
    What an input is normalised by, if it is.
    """
    for node in model.consumers(name):
        if node.op == "normalize":
            mean, deviation = (np.asarray(model.tensors[key].data).reshape(-1) for key in node.inputs[1:])
            return Statistics(mean, deviation)
    return None


def _masks(model: Model, count: int, rng: np.random.Generator) -> Values:
    """
    Masks of all densities, and those that leave everything, one choice, all but one, and nothing.
    """
    size = model.tensors[ACTION_MASKS].elements
    random = rng.random((count, size)) < rng.random((count, 1))
    one = np.eye(size, dtype=bool)[rng.permutation(size)[:MOST_ALONE]]
    special = [
        ("everything allowed", np.ones((1, size), bool)),
        ("one choice allowed", one),
        ("one choice forbidden", ~one),
        ("nothing allowed", np.zeros((1, size), bool)),
    ]
    return Values([("random", random)], special)


def _states(size: int, count: int, rng: np.random.Generator) -> Values:
    random = rng.uniform(-1, 1, size=(count, size)).astype(np.float32)
    large = (rng.standard_normal((2, size)) * 10).astype(np.float32)
    return Values([("random", random)], [("zero", np.zeros((1, size), np.float32)), ("a large state", large)])


def _beginnings(model: Model, cases: Cases) -> Cases:
    """
    Some cases without a state, which is how every episode begins.
    """
    few = cases.only(slice(0, BEGINNINGS))
    nothing = {name: np.zeros_like(few.values[name]) for name in (*(s.name for s in model.states), EPISODE_STARTS)}
    return Cases({**few.values, **nothing}, ("no state",) * len(few))


def _together(sources: Mapping[str, Values], kinds: list[str]) -> Cases:
    """
    All random values row by row, then the special ones of each input, random ones in the others.
    """
    random = {name: values.random_rows for name, values in sources.items()}
    parts = [Cases(random, tuple(kinds))]
    groups = {name: values.special for name, values in sources.items()}
    for place, (name, found) in enumerate(groups.items()):
        for kind, values in found:
            rows = (np.arange(len(values)) + 7 * place) % len(kinds)
            others = {other: array[rows] for other, array in random.items()}
            parts.append(Cases({**others, name: values}, (_named(kind, name, sources),) * len(values)))
    return Cases.join(*parts)


def _in_place_of(row: Cases, groups: Mapping[str, list[Group]]) -> Cases | None:
    """
    One case, again and again, with each of the values in turn.
    """
    parts = []
    for name, found in groups.items():
        for kind, values in found:
            repeated = row.only(np.zeros(len(values), np.int64))
            parts.append(Cases({**repeated.values, name: values}, (_named(kind, name, row.values),) * len(values)))
    return Cases.join(*parts) if parts else None


def _named(kind: str, name: str, inputs: Mapping[str, object]) -> str:
    return kind if name == next(iter(inputs)) and not name.partition(".")[2] else f"{name}: {kind}"
