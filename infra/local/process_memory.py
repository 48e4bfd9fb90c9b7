"""How much memory a function's process tree holds, read from /proc. Where there is no /proc it is not known: 0."""

from __future__ import annotations

import os
import re
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


def session_kb(session: int) -> int:
    """What all processes of a session (the process that leads it and its descendants) hold resident now, in KiB."""
    total = 0
    try:
        processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    except OSError:
        return 0
    for process in processes:
        try:
            fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            total += int(fields[21]) * _PAGE_KB
    return total
