"""A clock that is ahead or behind, for the processes of a function.

`write_shim` makes a folder which, put on PYTHONPATH, has an interpreter run `install` from this file before anything
else: so it imports the standard library only. By how much the clock is off stands in a file
that the variable OFFSET names, and can be changed with `write_offset` while the process lives.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import gc
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

OFFSET = "LOCAL_CLOUD_CLOCK"
_WIDTH = 32


def write_shim(folder: Path) -> Path:
    """Makes `folder` a place whose sitecustomize shifts the clock; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{time.time_ns()}.part"
    part.write_text(f"{folder.__class__(__file__).read_text()}\n\ninstall(following(os.environ[OFFSET]))\n")
    part.replace(folder / "sitecustomize.py")
    return folder


def write_offset(file: Path, seconds: float) -> None:
    """Sets the clocks that go by this file; a clock reads the old offset or the new one."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, f"{seconds!r:<{_WIDTH}}".encode(), 0)
    finally:
        os.close(descriptor)


def following(path: str) -> Callable[[], float]:
    """What `write_offset` wrote last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return lambda: float(os.pread(descriptor, _WIDTH, 0))


def install(offset: Callable[[], float]) -> None:
    """Shifts this process's time and datetime by `offset` seconds; what asks the operating system itself is not
    fooled.

    The class datetime stays what it is, since compiled libraries derive theirs from it: its two methods that read the
    clock are replaced in place, in the dictionary that the interpreter does not let anybody write to.
    """
    real_time, real_time_ns = time.time, time.time_ns
    (methods,) = (each for each in gc.get_referents(dt.datetime.__dict__) if isinstance(each, dict))
    real_now = methods["now"]

    def shifted(cls: Any) -> Any:
        return real_now.__get__(None, cls)(dt.UTC) + dt.timedelta(seconds=offset())

    def now(cls: Any, tz: Any = None) -> Any:
        """The shifted time."""
        return shifted(cls).astimezone(tz) if tz is not None else shifted(cls).astimezone().replace(tzinfo=None)

    def utcnow(cls: Any) -> Any:
        """The shifted time."""
        return shifted(cls).replace(tzinfo=None)

    def on_demand(convert: Any) -> Any:
        return lambda seconds=None: convert(time.time() if seconds is None else seconds)

    methods["now"], methods["utcnow"] = classmethod(now), classmethod(utcnow)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(dt.datetime))
    time.time = lambda: real_time() + offset()
    time.time_ns = lambda: real_time_ns() + round(offset() * 1_000_000_000)
    for name in ("gmtime", "localtime", "ctime"):
        setattr(time, name, on_demand(getattr(time, name)))
