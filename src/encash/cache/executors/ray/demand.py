"""Resource requests of workers, sized so that all fit on the nodes of a cluster at the same time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from encash.errors import InputError

CORES_PER_WORKER = 2
"""CPUs of a worker without a GPU, unless a number of workers is requested."""
_STEPS = 10_000
"""Ray counts resources in steps of 1/10,000."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """CPUs and GPUs of one node."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Demand:
    """A number of workers, and the CPUs and GPUs of each."""

    workers: int
    cpus: float
    gpus: float = 0.0

    def __str__(self) -> str:
        return amounts(cpus=self.cpus, gpus=self.gpus)


def fitting_demand(nodes: Sequence[Node], workers: int | None = None, *, use_gpus: bool = True) -> Demand:
    """Return the largest equal demand with which all workers run at the same time, however Ray places them.

    If the cluster has GPUs, workers run only there: each has one, or, if there are more workers than GPUs, a fraction
    of one. Their CPUs are those of the node with the fewest per worker. Without GPUs, the demand is a number of CPUs.

    Args:
        nodes: the nodes that are alive.
        workers: number of workers; None takes one per GPU, or one per two cores of each node.
        use_gpus: False for an encoder that runs on a CPU.

    Raises:
        InputError: fewer than 1 worker, or more than the nodes can share.

    >>> small = [Node(cpus=2, gpus=1), Node(cpus=2, gpus=1)]
    >>> print(fitting_demand([Node(cpus=8), *small]))
    1 GPU and 2 CPUs
    >>> print(fitting_demand(small, workers=3))
    0.5 GPUs and 1 CPU
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; expected 1 or more, or None for the default")
    with_gpus = [node for node in nodes if node.gpus >= 1] if use_gpus else []
    with_cpus = [node for node in nodes if node.cpus > 0]
    if with_gpus:
        return _on_gpus(with_gpus, workers)
    if with_cpus:
        return _on_cpus(with_cpus, workers)
    return Demand(workers=workers or 1, cpus=1.0)  # a cluster that starts nodes on demand


def amounts(*, cpus: float, gpus: float) -> str:
    """Return numbers of CPUs and GPUs as text.

    >>> amounts(cpus=1.0, gpus=0.5), amounts(cpus=8.0, gpus=0)
    ('0.5 GPUs and 1 CPU', '8 CPUs')
    """
    counts = {"GPU": gpus, "CPU": cpus}
    return " and ".join(
        f"{count:.4g} {name}{'' if count == 1 else 's'}" for name, count in counts.items() if count or name == "CPU"
    )


def _on_gpus(nodes: list[Node], workers: int | None) -> Demand:
    total = sum(int(node.gpus) for node in nodes)
    workers = workers or total
    per_gpu = math.ceil(workers / total)
    cpus = min(node.cpus / (int(node.gpus) * per_gpu) for node in nodes)
    return Demand(workers=workers, cpus=_rounded(cpus), gpus=_sound(1 / per_gpu, workers))


def _on_cpus(nodes: list[Node], workers: int | None) -> Demand:
    """Return the largest c for which the nodes hold the workers with c CPUs each; one node is full with it."""
    workers = workers or sum(int(node.cpus // CORES_PER_WORKER) for node in nodes) or len(nodes)
    if workers > _STEPS * sum(node.cpus for node in nodes):
        raise _too_many(workers)
    low, high = 1, int(_STEPS * max(node.cpus for node in nodes))
    while low < high:  # in steps of Ray; the number of workers that fit falls with the demand
        middle = (low + high + 1) // 2
        fits = sum(int(_STEPS * node.cpus) // middle for node in nodes) >= workers
        low, high = (middle, high) if fits else (low, middle - 1)
    return Demand(workers=workers, cpus=_sound(low / _STEPS, workers))


def _sound(share: float, workers: int) -> float:
    if not (rounded := _rounded(share)):
        raise _too_many(workers)
    return rounded


def _rounded(share: float) -> float:
    """Round down to whole CPUs or GPUs, or to Ray's steps below one."""
    return float(math.floor(share)) if share >= 1 else math.floor(share * _STEPS) / _STEPS


def _too_many(workers: int) -> InputError:
    return InputError(f"{workers:,} workers are more than this cluster can run; give fewer (--workers N)")
