"""What happens in its own time: in other threads, and in other processes."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def eventually(look: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """What `look` gives once that is something, or its last answer when time is up."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
