"""Objects as files below one folder.

A write is staged in a folder beside the objects, flushed to disk, and published by a single link
(create-only) or rename (replace), so that whenever the process dies a reader finds the old object
or the new one, never a part. The folders are flushed before a call returns.

This is not obstore's local store: that one does not flush, leaves files behind when it copies an
object onto itself, and loops for ever on some names and when a staged file is gone (0.12.1).
"""

import asyncio
import io
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from ionbeam.errors import InvalidInput, ObjectExists, ObjectMissing, StoreUnavailable
from ionbeam.ports import ObjectEntry

STAGING = ".staging"
STALE_AFTER_S = 3600.0
"""Age from which a staged file can only belong to a process that died."""

_MAX_KEY_BYTES = 1024
_MAX_SEGMENT_BYTES = 255
_COPY_BYTES = 1 << 20
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class LocalBatchStore:
    """`BatchStore` in a folder: a key is the path of its file below ``root``.

    Raises `StoreUnavailable` when the folder cannot be written (disk full, no permission) and
    `InvalidInput` for a key that is no path below it.
    """

    def __init__(self, root: Path | str) -> None:
        self._root = Path(root).absolute()
        self._staging = self._root / STAGING
        self._durable: set[Path] = set()
        with _faults_named(str(self._root)):
            self._staging.mkdir(parents=True, exist_ok=True)
            self._sweep()

    async def put(self, key: str, data: bytes | Path, *, overwrite: bool = False) -> None:
        """Write an object from bytes or a local file, which is copied piece by piece and left alone.

        `ObjectExists` unless ``overwrite``; the object that is there is then as durable as a new one.
        """
        check_key(key)
        await asyncio.to_thread(self._put, key, data, overwrite)

    def open(self, key: str) -> AbstractContextManager[pa.NativeFile]:
        """The object as a seekable file, which stays readable when the object is replaced."""
        with self._existing(key) as path:
            file: AbstractContextManager[pa.NativeFile] = pa.OSFile(str(path))
        return file

    async def copy(self, source: str, target: str) -> None:
        """Make ``target`` the same object as ``source``; they share their bytes on disk."""
        check_key(source)
        check_key(target)
        await asyncio.to_thread(self._copy, source, target)

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; folders stay, for another object may be on its way into them."""
        paths = [self._path(key) for key in keys]
        await asyncio.to_thread(self._delete, paths)

    async def list(self, prefix: str) -> AsyncIterator[ObjectEntry]:
        """Objects below ``prefix``, sorted by key; none appears in part or twice."""
        if not prefix.endswith("/"):
            raise InvalidInput(f"the prefix {prefix!r} must end in /")
        check_key(prefix[:-1])
        for entry in await asyncio.to_thread(self._sorted_entries, prefix):
            yield entry

    def _path(self, key: str) -> Path:
        check_key(key)
        return self._root / key

    @contextmanager
    def _existing(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        with _faults_named(key):
            try:
                if not path.is_file():
                    raise FileNotFoundError
                yield path
            except FileNotFoundError as error:
                raise ObjectMissing(f"there is no object {key}") from error

    def _put(self, key: str, data: bytes | Path, overwrite: bool) -> None:
        source = data.open("rb") if isinstance(data, Path) else io.BytesIO(data)
        with source, _faults_named(key), self._staged() as staged:
            with staged.open("xb") as file:
                shutil.copyfileobj(source, file, _COPY_BYTES)
                file.flush()
                os.fsync(file.fileno())
            self._publish(staged, key, overwrite)

    def _copy(self, source: str, target: str) -> None:
        with _faults_named(target), self._staged() as staged:
            with self._existing(source) as path:
                os.link(path, staged)
            self._publish(staged, target, overwrite=True)

    def _publish(self, staged: Path, key: str, overwrite: bool) -> None:
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if overwrite:
            staged.replace(path)
        else:
            try:
                os.link(staged, path)
            except FileExistsError as error:
                # Whoever meets the object may promise it to others, before its own writer returned.
                self._flush_way_to(key)
                raise ObjectExists(f"{key} exists already") from error
        self._flush_way_to(key)

    def _flush_way_to(self, key: str) -> None:
        """Make an object's entry in its folder durable, and that of each folder it lies in."""
        folders = [self._root / folder for folder in Path(key).parents]
        for folder in folders:
            _flush(folder)
            if folder in self._durable:
                break
        self._durable.update(folders)

    def _delete(self, paths: Iterable[Path]) -> None:
        with _faults_named("several objects"):
            folders = set()
            for path in paths:
                with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                    path.unlink()
                    folders.add(path.parent)
            for folder in folders:
                _flush(folder)

    def _sorted_entries(self, prefix: str) -> tuple[ObjectEntry, ...]:
        with _faults_named(prefix):
            return tuple(sorted(_entries(self._root, prefix), key=lambda entry: entry.key))

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        staged = self._staging / uuid4().hex
        try:
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    def _sweep(self) -> None:
        oldest = time.time() - STALE_AFTER_S
        for leftover in self._staging.iterdir():
            with suppress(FileNotFoundError):
                # Linking sets ctime but not mtime: a fresh link to an old object is no leftover.
                if leftover.stat().st_ctime < oldest:
                    leftover.unlink()


def check_key(key: str) -> None:
    """Refuse a key that some object store or file system would refuse or read as another one."""
    segments = key.split("/")
    if any(segment in {"", ".", ".."} for segment in segments):
        raise InvalidInput(f"the key {key!r} has an empty part, or . or .. as a part")
    if segments[0] == STAGING or any(_UNWRITABLE.search(segment) for segment in segments):
        raise InvalidInput(f"the key {key!r} has a control character, or starts with {STAGING}/")
    if len(key.encode()) > _MAX_KEY_BYTES or max(len(s.encode()) for s in segments) > _MAX_SEGMENT_BYTES:
        raise InvalidInput(
            f"the key {key[:40]!r}… is too long: {_MAX_SEGMENT_BYTES} bytes a part, {_MAX_KEY_BYTES} in all"
        )


def _entries(root: Path, prefix: str) -> Iterator[ObjectEntry]:
    """Every file below ``prefix``, leaving out what disappears meanwhile."""
    try:
        found = list(os.scandir(root / prefix))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        if entry.is_dir():
            yield from _entries(root, f"{prefix}{entry.name}/")
            continue
        try:
            size = entry.stat().st_size
        except FileNotFoundError:
            continue
        yield ObjectEntry(prefix + entry.name, size)


def _flush(folder: Path) -> None:
    """Make what was linked into or removed from ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _faults_named(subject: str) -> Iterator[None]:
    """Turn what the file system raises into ours, saying what it is about."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{subject}: {error}") from error
