"""
Builds of one package, one after the other at the same place, whose answers tell which build they are from.
"""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.loading import load
from tests.serve.packages import write_package

Array = NDArray[Any]
ROOT = Path(__file__).parents[2]


class Builds:
    """
    A folder that is a link to one build or another: which one changes at one moment, as in a careful deployment.
    """

    def __init__(self, folder: Path) -> None:
        self.place = folder
        self.folder = folder / "served"

    def link(self, build: Path) -> None:
        """
        Makes the folder another build.
        """
        new = self.place / "new"
        new.symlink_to(build, target_is_directory=True)
        os.replace(new, self.folder)

    def change(self, build: int) -> None:
        """
        Puts build number so and so, counted from 0, where the server looks.
        """
        raise NotImplementedError

    def observations(self, chance: random.Random, rows: int) -> Array:
        """
        Some observations, float32.
        """
        raise NotImplementedError

    def answered(self, observations: Array, actions: Array, seen: int, newest: int) -> int | None:
        """
        The number of a build from `seen` to `newest` whose actions these are; None if there is none.
        """
        raise NotImplementedError


class Doubles(Builds):
    """
    Packages that are written by hand: an action says the number of its build.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.change(0)

    def change(self, build: int) -> None:
        self.link(write_package(self.place / f"double-{build}", build))

    def observations(self, chance: random.Random, rows: int) -> Array:
        numbers = np.zeros((rows, 4), np.float32)
        numbers[:, 0] = [chance.randrange(1000) for _ in range(rows)]
        return numbers

    def answered(self, observations: Array, actions: Array, seen: int, newest: int) -> int | None:
        builds = np.unique(actions - 2 * observations[:, 0].astype(np.int64))
        # The newest may already answer before this process was told of it.
        return int(builds[0]) if len(builds) == 1 and seen <= builds[0] <= newest + 1 else None


class CartPole(Builds):
    """
    Two policies that were compiled, in turn. Which one answers shows only where they differ.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        options = ("--activation", "Tanh", "--action-kind", "discrete", "--no-masked")
        sources = (("cartpole.zip", ()), ("cartpole_policy.pth", options))
        self.packages, self.policies = [], []
        for number, (source, more) in enumerate(sources):
            arguments = [ROOT / "model" / source, "--out", folder / f"build-{number}", "--name", "cartpole", *more]
            command = [sys.executable, "-m", "compiler.cli", "build", *map(str, arguments), "--target", "native"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            self.packages.append(folder / f"build-{number}" / "cartpole")
            self.policies.append(load(self.packages[-1], f"cartpole_{number}"))
        self.change(0)

    def change(self, build: int) -> None:
        self.link(self.packages[build % 2])

    def observations(self, chance: random.Random, rows: int) -> Array:
        numbers = [[chance.uniform(-1, 1) * scale for scale in (2, 2, 0.2, 2)] for _ in range(rows)]
        return np.array(numbers, np.float32)

    def answered(self, observations: Array, actions: Array, seen: int, newest: int) -> int | None:
        fit = [np.array_equal(policy.predict(observations)[0], actions) for policy in self.policies]
        first = max(seen, 0)
        return next((build for build in range(first, newest + 2) if fit[build % 2]), None)
