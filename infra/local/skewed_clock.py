"""A clock that is off, for the processes of a function.

`write_shim` makes a folder which, put on PYTHONPATH, has an interpreter run `install` from this file before anything
else: so it may import nothing but what the interpreter has loaded anyway.
"""

from __future__ import annotations

import datetime as dt
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


def write_shim(folder: Path, seconds: float) -> Path:
    """Makes `folder` a place whose sitecustomize shifts the clock; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{time.time_ns()}.part"
    part.write_text(f"{folder.__class__(__file__).read_text()}\n\ninstall({seconds!r})\n")
    part.replace(folder / "sitecustomize.py")
    return folder


def install(seconds: float) -> None:
    """Shifts this process's time and datetime by `seconds`; what asks the operating system itself is not fooled."""
    real_time, real_time_ns, real = time.time, time.time_ns, dt.datetime
    shift = dt.timedelta(seconds=seconds)

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
            moment = real.now(dt.UTC) + shift
            local = moment.astimezone(tz) if tz is not None else moment.astimezone().replace(tzinfo=None)
            return cls._of(local)

        @classmethod
        def utcnow(cls) -> Any:
            """The shifted time."""
            return cls._of((real.now(dt.UTC) + shift).replace(tzinfo=None))

        @classmethod
        def _of(cls, moment: Any) -> Any:
            return cls.combine(moment.date(), moment.timetz())

    def on_demand(convert: Any) -> Any:
        return lambda seconds=None: convert(time.time() if seconds is None else seconds)

    datetime.__module__, datetime.__qualname__ = "datetime", "datetime"
    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_time_ns() + round(seconds * 1_000_000_000)
    for name in ("gmtime", "localtime", "ctime"):
        setattr(time, name, on_demand(getattr(time, name)))
    dt.datetime = datetime  # type: ignore[misc]
