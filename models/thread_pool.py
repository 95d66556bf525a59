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
    """How many cores this process has."""
    return int(os.environ.get(CORES_VARIABLE) or os.cpu_count() or 1)


@lru_cache(maxsize=1)
def thread_pool() -> ThreadPoolExecutor:
    """The process's threads, as many as it has cores. Their tasks must not wait for one another."""
    return ThreadPoolExecutor(core_count(), thread_name_prefix="core")
