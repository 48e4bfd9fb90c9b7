"""What the local cloud keeps between two starts, in a folder: what tables and buckets hold, the clock, the users' keys,
the addresses, metrics, the last log lines, and which executions were under way.

    state.json     all but the following, replaced as a whole: a cloud that is killed loses what came after a save
    objects/       the contents of objects, a file each; state.json names them
    metrics.jsonl  data points, appended
    logs/          a file for each log group, appended
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.local.logs import Logs
from infra.local.metrics import DAYS, Metrics
from infra.local.moto_server import MotoServer
from infra.local.objects import Objects

log = logging.getLogger(__name__)

FORMAT = 1
SAVE_EVERY_S = 20.0
MOST_LOG_BYTES = 5_000_000  # of a group, then its file begins anew and the one before stays
SHOWN_LINES = 1_000  # of each group, after a start


class KeptStateError(Exception):
    """The saved state cannot be read; the message says why, and what to do."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; to begin without what was kept: scripts/local reset")


class Kept:
    """The folder. One cloud at a time has it.

    Attributes:
        objects: the contents of objects.
        saved: the last saved state; empty when there is none.

    Raises:
        KeptStateError: there is a state, but not one that this code reads.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "state.json"
        self._metrics_file = folder / "metrics.jsonl"
        self._logs = folder / "logs"
        self._logs.mkdir(exist_ok=True)
        self._points: list[str] = []
        self._lines: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._written = ""
        self.objects = Objects(folder / "objects", keeps=True)
        self.saved = self._read()
        self.objects.keep_only({each["content"] for each in _objects(self.saved) if each.get("content")})

    @property
    def offset_s(self) -> float:
        """How far the cloud's clock was ahead."""
        return float(self.saved.get("offset_s", 0.0))

    @property
    def users(self) -> Mapping[str, Mapping[str, str]]:
        """The credentials of every user by name."""
        users: Mapping[str, Mapping[str, str]] = self.saved.get("users", {})
        return users

    @property
    def executions(self) -> Sequence[Mapping[str, Any]]:
        """The executions that were under way."""
        executions: Sequence[Mapping[str, Any]] = self.saved.get("executions", ())
        return executions

    def port(self, name: str) -> int:
        """The port that an address had; 0 for any."""
        return int(self.saved.get("ports", {}).get(name, 0))

    # --- putting it back ----------------------------------------------------------------------------------------------

    def put_back(self, moto: MotoServer, metrics: Metrics, logs: Logs, now: float) -> list[str]:
        """Fills what was provisioned; returns the tables and buckets that are not there any more. From then on data
        points and log lines are kept.

        Raises:
            KeptStateError: something that the state names is gone.
        """
        try:
            lacking = moto.put_back(self.saved.get("contents", {}), self.objects)
        except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
            raise KeptStateError(f"{self._file.parent} cannot be put back: {error!r}") from error
        points = [line for line in _lines(self._metrics_file) if json.loads(line)[3] > now - 86_400 * DAYS]
        for namespace, name, dimensions, at, values, unit in map(json.loads, points):
            metrics.put(namespace, name, values, dimensions, at=at, unit=unit)
        self._metrics_file.write_text("".join(f"{line}\n" for line in points), "utf-8")
        for path in sorted(self._logs.glob("*.log")):
            found = [_read_line(line) for line in list(_lines(path))[-SHOWN_LINES:]]
            moto.put_log_events(_group(path), "kept", [each for each in found if each])
        metrics.on_put, logs.on_line = self._point, self._line
        return lacking

    def _point(self, *point: Any) -> None:
        line = json.dumps(point, separators=(",", ":"))
        with self._lock:
            self._points.append(line)

    def _line(self, group: str, at: datetime, line: str) -> None:
        stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self._lock:
            self._lines.setdefault(group, []).append(f"{stamp} {line.replace(chr(10), chr(13))}\n")

    # --- saving it ----------------------------------------------------------------------------------------------------

    def save(self, moto: MotoServer, about: Mapping[str, Any], *, without: Collection[str]) -> None:
        """Writes what has changed; `about` is offset_s, users, ports and executions. Buckets `without` are made anew at
        each start."""
        with self._saving:
            gone = self.objects.gone()  # before: what goes meanwhile may still be named
            contents = moto.contents(without)
            text = json.dumps({"format": FORMAT, **about, "contents": contents}, separators=(",", ":"))
            digest = hashlib.sha256(text.encode()).hexdigest()
            if digest != self._written:
                part = self._file.with_suffix(".part")
                part.touch(mode=0o600)
                part.write_text(text, "utf-8")
                part.replace(self._file)
                self._written = digest
            self.objects.sweep(gone)
            self._append()

    def close(self) -> None:
        """What the cloud forgets as it ends stays here."""
        self.objects.close()

    def _append(self) -> None:
        with self._lock:
            points, self._points = self._points, []
            lines, self._lines = self._lines, {}
        with self._metrics_file.open("a", encoding="utf-8") as file:
            file.writelines(f"{point}\n" for point in points)
        for group, new in lines.items():
            path = self._logs / f"{group.strip('/').replace('/', '__')}.log"
            if path.exists() and path.stat().st_size > MOST_LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
            with path.open("a", encoding="utf-8") as file:
                file.writelines(new)

    def _read(self) -> dict[str, Any]:
        try:
            saved: dict[str, Any] = json.loads(self._file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise KeptStateError(f"{self._file} cannot be read: {error}") from error
        if saved.get("format") != FORMAT:
            raise KeptStateError(f"{self._file} was written by another version of the local cloud")
        return saved


class Saver:
    """Saves at intervals, in a thread of its own, until it is closed; then once more."""

    def __init__(self, save: Callable[[], None]) -> None:
        self._save = save
        self._stop = threading.Event()
        self.saved_at: float | None = None
        self._thread = threading.Thread(target=self._work, name="local-cloud-saver", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and saves."""
        self._stop.set()
        self._thread.join()
        self._saved()

    def _work(self) -> None:
        while not self._stop.wait(SAVE_EVERY_S):
            try:
                self._saved()
            except Exception:
                log.exception("the state could not be saved")

    def _saved(self) -> None:
        self._save()
        self.saved_at = time.time()


def _objects(saved: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for documents in saved.get("contents", {}).get("buckets", {}).values():
        yield from documents


def _lines(path: Path) -> Iterator[str]:
    """Whole lines; the last one of a cloud that was killed may be none."""
    if path.exists():
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            yield from (line.rstrip("\n") for line in file if line.endswith("\n"))


def _group(path: Path) -> str:
    return "/" + path.stem.replace("__", "/")


def _read_line(line: str) -> tuple[float, str] | None:
    found = re.match(r"(\S+Z) (.*)", line, re.DOTALL)
    if found is None:
        return None
    at = datetime.fromisoformat(found[1].replace("Z", "+00:00")).astimezone(UTC)
    return at.timestamp(), found[2].replace("\r", "\n")
