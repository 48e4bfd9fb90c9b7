"""How much memory a function's process tree holds, read from /proc. Where there is no /proc it is not known: 0."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

_PEAK = re.compile(rb"VmHWM:\s+(\d+)")
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def peak_kb(pid: int) -> int:
    """The most the process itself ever held resident, in KiB; a short peak between two looks is in it too."""
    try:
        found = _PEAK.search(Path("/proc", str(pid), "status").read_bytes())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def resident_mb() -> int:
    """What this process holds now, in MiB."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE_KB // 1024
    return 0


class Sessions:
    """What the processes of each session (the one that leads it and its descendants) hold resident, in KiB. One look
    at all processes serves everybody who asks within `fresh_s`; safe to use from several threads."""

    def __init__(self, fresh_s: float) -> None:
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._until = 0.0
        self._held: Mapping[int, int] = {}

    def kb(self, session: int) -> int:
        """Of one session."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._held = _resident_kb()
                self._until = time.monotonic() + self._fresh_s
            return self._held.get(session, 0)


def _resident_kb() -> Mapping[int, int]:
    """By session."""
    found: dict[int, int] = defaultdict(int)
    with contextlib.suppress(OSError), os.scandir("/proc") as entries:
        for entry in entries:
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError), open(f"/proc/{entry.name}/stat", "rb", buffering=0) as stat:  # noqa: PTH123
                fields = stat.read().rpartition(b")")[2].split()
                found[int(fields[3])] += int(fields[21]) * _PAGE_KB
    return found
