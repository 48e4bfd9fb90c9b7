"""What S3 objects hold: larger ones are files in a folder, so that the cloud's memory does not grow with them."""

from __future__ import annotations

import contextlib
import threading
import uuid
from pathlib import Path


class Objects:
    """The contents in a folder.

    Args:
        folder: made when it is not there.
        inline_bytes: contents up to this size stay in memory.
        keeps: files of objects that are gone stay until `sweep`, since a saved state may name them.
    """

    def __init__(self, folder: Path, *, inline_bytes: int = 0, keeps: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.inline_bytes = inline_bytes
        self._keeps = keeps
        self._gone: list[str] = []
        self._lock = threading.Lock()
        self._closed = False

    def content(self, _most_in_memory: int = 0, *, max_size: int = 0) -> Content:
        """A new, empty content; takes the arguments of tempfile.SpooledTemporaryFile, which it replaces in moto."""
        del max_size
        return Content(self)

    def kept(self, name: str) -> Content:
        """The content in a file that was here before.

        Raises:
            FileNotFoundError: the file is gone.
        """
        if name and not (self._folder / name).is_file():
            raise FileNotFoundError(self._folder / name)
        return Content(self, name)

    def write(self, data: bytes) -> str:
        """The name of a new file."""
        name = uuid.uuid4().hex
        (self._folder / name).write_bytes(data)
        return name

    def read(self, name: str, start: int, count: int) -> bytes:
        """At most `count` bytes of a file; all when it is negative."""
        with (self._folder / name).open("rb") as file:
            file.seek(start)
            return file.read(count)

    def drop(self, name: str) -> None:
        """The object of this file is gone."""
        with self._lock:
            if self._closed:
                return
            if self._keeps:
                self._gone.append(name)
                return
        self._remove(name)

    def gone(self) -> list[str]:
        """The files of objects that are gone by now."""
        with self._lock:
            return list(self._gone)

    def sweep(self, names: list[str]) -> None:
        """Removes files that no saved state names any more."""
        with self._lock:
            self._gone = [name for name in self._gone if name not in set(names)]
        for name in names:
            self._remove(name)

    def keep_only(self, names: set[str]) -> None:
        """Removes every other file: what was written after the last save of a cloud that was killed."""
        for path in self._folder.iterdir():
            if path.name not in names:
                self._remove(path.name)

    def close(self) -> None:
        """From now on files stay as they are."""
        with self._lock:
            self._closed = True

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self._folder / name).unlink()


class Content:
    """One object's content, with as much of a file's interface as moto uses. Written once, then read."""

    def __init__(self, objects: Objects, name: str = "") -> None:
        self._objects = objects
        self._data = b""
        self.name = name
        self._at = 0

    def seek(self, at: int) -> None:
        """Goes to a place."""
        self._at = at

    def truncate(self) -> None:
        """Forgets what there is: moto only does so at the beginning."""
        name, self.name, self._data = self.name, "", b""
        if name:
            self._objects.drop(name)

    def write(self, data: bytes) -> None:
        """The whole content."""
        if len(data) > self._objects.inline_bytes:
            self.name = self._objects.write(data)
        else:
            self._data = bytes(data)
        self._at = len(data)

    def read(self, count: int = -1) -> bytes:
        """At most `count` bytes from the place on; all when it is negative."""
        if self.name:
            found = self._objects.read(self.name, self._at, count)
        else:
            found = self._data[self._at :] if count < 0 else self._data[self._at : self._at + count]
        self._at += len(found)
        return found

    def close(self) -> None:
        """The object is gone."""
        self.truncate()
