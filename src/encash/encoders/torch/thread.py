"""The one thread in which torch computes on a CPU. Knows functions; no model.

Every thread that calls torch gets a team of helpers of its own. As soon as the teams together are larger than the
cores, the runtime of the helpers lets them sleep at every step, and a model runs 15 % slower: in a build that encodes
beside the thread that loaded the model, for instance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import ParamSpec, TypeVar

from encash.encoders.torch.memory import keep_freed_memory

P = ParamSpec("P")
R = TypeVar("R")

_pool = ThreadPoolExecutor(1, thread_name_prefix="encash-torch")


def in_the_compute_thread(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, run in the thread of torch, whoever calls it; what it raises is raised here.

    >>> @in_the_compute_thread
    ... def name() -> str:
    ...     return threading.current_thread().name
    >>> name()
    'encash-torch_0'
    """

    @wraps(function)
    def run(*arguments: P.args, **keywords: P.kwargs) -> R:
        if threading.current_thread().name.startswith("encash-torch"):
            return function(*arguments, **keywords)
        keep_freed_memory()
        return _pool.submit(function, *arguments, **keywords).result()

    return run
