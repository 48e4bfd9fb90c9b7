"""A clock that is ahead or behind, for the processes of a function.

`write_shim` makes a folder which, put on PYTHONPATH, has an interpreter run `install` from this file before anything
else: so it may import nothing but what the interpreter has loaded anyway. By how much the clock is off stands in a file
that the variable OFFSET names, and can be changed with `write_offset` while the process lives.
"""

from __future__ import annotations

import datetime as dt
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
    fooled."""
    real_time, real_time_ns, real = time.time, time.time_ns, dt.datetime

    class Meta(type):
        """What C code makes is of the real class, and still a datetime."""

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, real) if cls is datetime else super().__instancecheck__(instance)

        def __subclasscheck__(cls, subclass: Any) -> bool:
            return issubclass(subclass, real) if cls is datetime else super().__subclasscheck__(subclass)

    class datetime(dt.datetime, metaclass=Meta):  # noqa: N801 - it takes the place of the real one
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            """The shifted time."""
            moment = real.now(dt.UTC) + dt.timedelta(seconds=offset())
            local = moment.astimezone(tz) if tz is not None else moment.astimezone().replace(tzinfo=None)
            return cls._of(local)

        @classmethod
        def utcnow(cls) -> Any:
            """The shifted time."""
            return cls._of((real.now(dt.UTC) + dt.timedelta(seconds=offset())).replace(tzinfo=None))

        @classmethod
        def _of(cls, moment: Any) -> Any:
            return cls.combine(moment.date(), moment.timetz())

    def on_demand(convert: Any) -> Any:
        return lambda seconds=None: convert(time.time() if seconds is None else seconds)

    datetime.__module__, datetime.__qualname__ = "datetime", "datetime"
    time.time = lambda: real_time() + offset()
    time.time_ns = lambda: real_time_ns() + round(offset() * 1_000_000_000)
    for name in ("gmtime", "localtime", "ctime"):
        setattr(time, name, on_demand(getattr(time, name)))
    dt.datetime = datetime  # type: ignore[misc]
