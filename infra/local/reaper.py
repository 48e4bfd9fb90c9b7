"""Keeps the promise that no function outlives the local cloud, even when the cloud itself is killed outright.

A small process of its own holds the list of running environments. The pipe it reads from closes when its parent ends,
however it ends; then every process group still on the list is killed and the given folders are removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path


class Reaper:
    """The parent's end: report what runs, report what ended."""

    def __init__(self, python: Path, *folders: Path) -> None:
        self._lock = threading.Lock()
        read_end, write_end = os.pipe()
        self._list = os.fdopen(write_end, "wb")
        self._process = subprocess.Popen(  # noqa: S603 - this very file
            [str(python), "-I", "-S", __file__, *map(str, folders)],
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        os.close(read_end)

    def watch(self, process_group: int) -> None:
        """Puts a process group on the list."""
        self._send(f"+{process_group}\n")

    def release(self, process_group: int) -> None:
        """Takes it off again; to be called before its number can be given to another process."""
        self._send(f"-{process_group}\n")

    def close(self) -> None:
        """Ends the reaper, which ends what is still on its list."""
        with self._lock, contextlib.suppress(OSError):
            self._list.close()
        self._process.wait()

    def _send(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._list.write(line.encode())
            self._list.flush()


def reap(folders: list[str]) -> None:
    """The reaper's own life: follow the list until the parent is gone, then clean up after it."""
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    reap(sys.argv[1:])
