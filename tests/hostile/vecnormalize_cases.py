"""
Rows 2 and 17: files of VecNormalize, which SB3 loads as pickles, that execute something or whose statistics are wrong.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tests.hostile.assemble import Call, Global, assemble
from tests.hostile.case import TRIPWIRE, HostileCase
from tests.hostile.pickle_cases import EXEC, SYSTEM, memo_bomb
from tests.hostile.policies import array, box, running, vecnormalize

ONES = np.ones(3)


def statistics(**changes: object) -> Callable[[], bytes]:
    """
    A maker of a file with some attributes replaced or added.
    """
    return lambda: assemble(vecnormalize(**changes), 4)


def moments(mean: object = ONES, variance: object = ONES) -> Callable[[], bytes]:
    """
    A maker of a file whose mean or variance are replaced.
    """
    values = (array(value) if isinstance(value, np.ndarray) else value for value in (mean, variance))
    return statistics(obs_rms=running(*values))


def claiming(*shape: int) -> Call:
    """
    An array of three values that says it has this shape.
    """
    return Call(Global("numpy._core.numeric", "_frombuffer", True), (*array(ONES).arguments[:2], shape, "C"))


def wide_space() -> bytes:
    """
    A Box that says it is beyond all memory, whose bounds have three values.
    """
    space = box(np.ones(3, np.float32), np.ones(3, np.float32))
    assert isinstance(space.state, dict)
    wide = replace(space, state=space.state | {"_shape": (1 << 40,)})
    return assemble(vecnormalize(observation_space=wide), 4)


def truncated() -> bytes:
    return assemble(vecnormalize(), 4)[:-20]


def case(row: int, make: Callable[[], bytes], *words: str, **more: object) -> HostileCase:
    settings = {"by": "build", "reader": "vecnormalize", **more}
    return HostileCase(row, "vecnormalize.pkl", make, words, **settings)  # type: ignore[arg-type]


CASES = {
    # Row 2.
    "vecnormalize-reduce": case(2, lambda: assemble(SYSTEM), "posix.system", fires=True),
    "vecnormalize-exec": case(2, lambda: assemble(EXEC), "builtins.exec", fires=True),
    "vecnormalize-import": case(2, lambda: assemble(Global(TRIPWIRE, "MARKER")), TRIPWIRE, fires=True),
    "vecnormalize-state": case(2, lambda: assemble(Call(SYSTEM, (), {"norm_obs": True})), "posix.system"),
    "vecnormalize-space": case(2, statistics(observation_space=SYSTEM), "observation_space", "posix.system"),
    "vecnormalize-statistics": case(2, statistics(obs_rms=SYSTEM), "posix.system"),
    "vecnormalize-mean": case(2, moments(mean=SYSTEM), "mean", "posix.system"),
    "vecnormalize-bytes": case(
        2,
        moments(variance=Call(Global("numpy._core.numeric", "_frombuffer", True), (SYSTEM, "f8", (3,), "C"))),
        "var",
        "posix.system",
    ),
    "vecnormalize-epsilon": case(2, statistics(epsilon=SYSTEM), "epsilon", "posix.system"),
    "vecnormalize-keys": case(2, statistics(norm_obs=EXEC), "norm_obs", "builtins.exec"),
    # SB3 executes these; nothing looks at them here.
    "vecnormalize-unneeded": case(2, statistics(old_obs=SYSTEM, ret_rms=EXEC), by="nobody"),
    "vecnormalize-unneeded-import": case(2, statistics(more=Global(TRIPWIRE, "nothing")), by="nobody"),
    # Row 11.
    "vecnormalize-memo-bomb": case(11, memo_bomb, "leaves", by="reader"),
    # Row 17.
    "vecnormalize-nan": case(17, moments(variance=ONES * np.nan), "var", "NaN"),
    "vecnormalize-negative": case(17, moments(variance=-ONES), "negative variance"),
    "vecnormalize-infinity": case(17, moments(mean=ONES * np.inf), "mean", "infinity"),
    "vecnormalize-shape": case(17, moments(mean=np.ones(4)), "mean", "(3,)", "(4,)"),
    "vecnormalize-claim": case(17, moments(mean=claiming(1 << 40)), "mean", "bytes"),
    "vecnormalize-beyond-memory": case(17, moments(variance=claiming(1 << 40, 1 << 40)), "var", "beyond all memory"),
    "vecnormalize-wide-space": case(17, wide_space, "observation_space", "low"),
    "vecnormalize-clip": case(17, statistics(clip_obs=float("nan")), "clip_obs"),
    "vecnormalize-truncated": case(17, truncated, "truncated", by="reader"),
}
