"""Threads that share out the pictures of a call: LiteRT, TensorFlow and OpenCV let go of the interpreter.

One item a thread keeps each core's cache to itself and waits for nobody, which takes less processor time
than cutting every operation of one item into pieces for all cores.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Final

CORES_VARIABLE: Final = "AFFECTLINE_CORES"  # environment variable: how many cores this process has


def core_count() -> int:
    """How many cores this process has: what it was told, else those that it may run on."""
    told = os.environ.get(CORES_VARIABLE)
    if told:
        return int(told)
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def thread_pool() -> ThreadPoolExecutor:
    """The process's threads, as many as it has cores. Their tasks must not wait for one another."""
    return ThreadPoolExecutor(core_count(), thread_name_prefix="core")
