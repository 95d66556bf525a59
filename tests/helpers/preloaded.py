"""Standing between child processes and the C library, to have the system do what it rarely does."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

# A file whose end the disk cannot give.
FAILING_DISK: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t read(int fd, void *buffer, size_t count) {
    static ssize_t (*real)(int, void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "read");
    const char *path = getenv("FAILING_FILE"), *from = getenv("FAILING_FROM");
    struct stat asked, failing;
    if (path && !fstat(fd, &asked) && !stat(path, &failing) && asked.st_ino == failing.st_ino) {
        off_t left = atoll(from) - lseek(fd, 0, SEEK_CUR);
        if (left <= 0) { errno = EIO; return -1; }
        if ((off_t)count > left) count = left;
    }
    return real(fd, buffer, count);
}
"""

# The time of day, which jumps while a file is there.
JUMPING_CLOCK: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, now);
    const char *when = getenv("JUMPS_WHEN"), *by = getenv("JUMPS_BY");
    if (clock == CLOCK_REALTIME && when && !access(when, F_OK)) now->tv_sec += atoll(by);
    return answer;
}
"""


def preload(source: str, variables: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, processes that are started have this in the place of the C library's own.

    variables: of the environment, which it reads. folder: for the library. Skips the test where none can be
    built.
    """
    library = folder / "preloaded.so"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library, "-ldl"]
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    if subprocess.run(command, input=source, text=True, capture_output=True).returncode:
        pytest.skip("needs the C library's headers")
    for name, value in {**variables, "LD_PRELOAD": str(library)}.items():
        monkeypatch.setenv(name, value)


def fail_from(path: Path, start: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, processes that are started cannot read a file's bytes from `start` on."""
    preload(FAILING_DISK, {"FAILING_FILE": str(path), "FAILING_FROM": str(start)}, folder, monkeypatch)
