"""
Processes of a server: where they run, what memory and processor time they use. Linux only.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http.results import Process

TICKS = os.sysconf("SC_CLK_TCK")
KIB = 1024


@dataclass(frozen=True)
class Machine:
    """
    Which cores belong to whom.
    """

    server_cores: tuple[int, ...]
    load_cores: tuple[int, ...]

    @classmethod
    def divided(cls, roaming: bool = False) -> "Machine":
        """
        The last core for the load, the others for the server; where there is one, they share it.

        Args:
            roaming: whether the server may use the load's core too.
        """
        cores = sorted(os.sched_getaffinity(0))
        return cls(tuple(cores if roaming or len(cores) == 1 else cores[:-1]), tuple(cores[-1:]))

    def pinned(self, command: Sequence[str], cores: Sequence[int]) -> list[str]:
        """
        The command on those cores.
        """
        return ["taskset", "--cpu-list", ",".join(map(str, cores)), *command]


def family(root: int) -> list[int]:
    """
    A process and all that descend from it, parents first.
    """
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and (fields := _stat(int(path.name))):
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found = [root]
    for parent in found:
        found += sorted(children.get(parent, ()))
    return found


def memory(process: int) -> Process:
    """
    What a process takes.
    """
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * KIB
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return Process(sizes["Rss"], sizes["Pss"], private)


def processor_time(processes: Sequence[int]) -> float:
    """
    Seconds of user and system time that processes have used; those that have ended count for nothing.
    """
    fields = [stat for process in processes if (stat := _stat(process))]
    return sum(int(stat[11]) + int(stat[12]) for stat in fields) / TICKS


def busy() -> float:
    """
    Seconds that all cores together were at work since the machine started.
    """
    user, nice, system, _, _, interrupts, soft = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8])
    return (user + nice + system + interrupts + soft) / TICKS


def _stat(process: int) -> list[str]:
    """
    The fields of `/proc/PID/stat` from the state on; none for a process that has ended.
    """
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
