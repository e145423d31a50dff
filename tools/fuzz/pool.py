"""Run functions in forked processes with a time limit; the parent has imported everything, and uses none of it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass(frozen=True, kw_only=True)
class Ended(Generic[Job]):
    """A process that ended."""

    job: Job
    status: int
    """Exit code, or minus the signal."""
    late: bool
    """Whether it was killed because its time was over."""
    peak_bytes: int
    seconds: float


@dataclass(kw_only=True)
class Pool(Generic[Job]):
    """Forks one process per job."""

    work: Callable[[Job], None]
    """Called in the new process."""
    processes: int
    seconds: float
    """CPU time after which a job is killed; so is one that took ten times as long by the clock."""
    _running: dict[int, tuple[Job, float]] = field(default_factory=dict)
    _late: set[int] = field(default_factory=set)

    def run(self, jobs: Iterable[Job]) -> Iterator[Ended[Job]]:
        """Yield each job as it ends; `jobs` is read as processes become free."""
        for job in jobs:
            self._start(job)
            while len(self._running) >= self.processes:
                yield from self._ended()
        while self._running:
            yield from self._ended()

    def _start(self, job: Job) -> None:
        if (process := os.fork()) == 0:
            code = 0
            try:
                os.setpgid(0, 0)
                self.work(job)
            except BaseException:  # noqa: BLE001 - a child never returns into the parent's code
                traceback.print_exc()
                code = 70
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        self._running[process] = job, time.monotonic()

    def _ended(self) -> Iterator[Ended[Job]]:
        """Yield the processes that have ended; otherwise kill those that are late, and wait a little."""
        running = list(self._running.items())
        for process, (job, began) in running:
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process, signal.SIGKILL)  # what it left behind
            _, status, used = os.wait4(process, 0)
            del self._running[process]
            yield Ended(
                job=job,
                status=os.waitstatus_to_exitcode(status),
                late=process in self._late,
                peak_bytes=used.ru_maxrss * 1024,
                seconds=time.monotonic() - began,
            )
        if len(self._running) < len(running):
            return
        for process, (_, began) in running:
            if _cpu_seconds(process) > self.seconds or time.monotonic() - began > 10 * self.seconds:
                self._late.add(process)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process, signal.SIGKILL)
        time.sleep(0.02)


def _cpu_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
