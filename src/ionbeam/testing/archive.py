"""A stand-in for the Sensor.Community archive: serves a folder exactly as the archive serves itself.

``python -m ionbeam.testing.archive FOLDER --port N`` serves ``FOLDER/YYYY-MM-DD/*.csv`` on the
loopback interface until it is stopped, and prints the address. Tests use `ArchiveServer` and may
tell it to fail. Pages and headers follow Apache httpd's autoindex and static files.
"""

import argparse
import gzip
import html
import re
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

_ROUTE = re.compile(r"/(?:(?P<year>\d{4})/)?(?P<day>(?P<of>\d{4})-\d{2}-\d{2})/(?P<file>[^/]*)")


@dataclass(frozen=True, slots=True)
class Fault:
    """How an answer goes wrong."""

    status: int = 503
    retry_after: str | None = None
    cut: bool = False
    """Promise the whole body and break off after half of it."""


class ArchiveServer:
    """Serves ``folder`` from a thread, as a context manager.

    ``gzipped`` offers every ``.csv`` as ``.csv.gz``; ``year_folders`` keeps days of past years only
    under ``/YYYY/YYYY-MM-DD/``, as the archive does. Port 0 takes a free one.
    """

    def __init__(
        self, folder: Path, port: int = 0, *, gzipped: bool = False, year_folders: bool = False
    ) -> None:
        self.folder = folder
        self.gzipped = gzipped
        self.year_folders = year_folders
        self.requests: Counter[str] = Counter()
        """Requests by path."""
        self.answers: Counter[int] = Counter()
        """Answers by status; 0 for connections that were cut."""
        self._faults: dict[str, list[Fault]] = {}
        self._lock = threading.Lock()
        self._server = _Server(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def fail(self, path: str, times: int = 1, fault: Fault | None = None) -> None:
        """Let the next ``times`` requests for ``path`` go wrong."""
        with self._lock:
            self._faults.setdefault(path, []).extend([fault or Fault()] * times)

    def take_fault(self, path: str) -> Fault | None:
        """Count a request for ``path`` and say how it is to fail."""
        with self._lock:
            self.requests[path] += 1
            planned = self._faults.get(path)
            return planned.pop(0) if planned else None

    def count_answer(self, status: int) -> None:
        """Count an answer."""
        with self._lock:
            self.answers[status] += 1

    def day_folder(self, path: str) -> Path | None:
        """The folder of the day a path leads into; None when the archive has nothing there."""
        route = _ROUTE.fullmatch(path)
        if route is None or route["year"] not in (None, route["of"]):
            return None
        aged = self.year_folders and int(route["of"]) < datetime.now(UTC).year
        folder = self.folder / route["day"]
        return folder if aged == (route["year"] is not None) and folder.is_dir() else None

    def listing(self, folder: Path) -> dict[str, Path]:
        """The files of a day by the name they are offered under."""
        files = sorted(f for f in folder.iterdir() if f.name.endswith((".csv", ".csv.gz")))
        return {f"{f.name}.gz" if self._packs(f) else f.name: f for f in files}

    def content(self, file: Path) -> bytes:
        """The bytes a file is served as."""
        data = file.read_bytes()
        return gzip.compress(data, mtime=0) if self._packs(file) else data

    def _packs(self, file: Path) -> bool:
        return self.gzipped and file.suffix == ".csv"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve_forever(self) -> None:
        """Serve until interrupted."""
        with self:
            self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, archive: ArchiveServer, port: int) -> None:
        self.archive = archive
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Apache"
    sys_version = ""
    wbufsize = -1  # One packet for headers and body: the two alone meet Nagle's delay.
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Answer with a listing, a file, or what was planned instead."""
        archive = self.server.archive
        path = self.path.partition("?")[0]
        fault = archive.take_fault(path)
        if fault is not None and not fault.cut:
            headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
            self._answer(fault.status, b"", headers)
            return
        folder = archive.day_folder(path)
        files = archive.listing(folder) if folder is not None else {}
        name = path.rpartition("/")[2]
        cut = fault is not None
        if folder is not None and not name:
            page = _index_page(path, files).encode()
            self._answer(200, page, {"Content-Type": "text/html;charset=UTF-8"}, cut=cut)
        elif name in files:
            self._file(files[name], cut=cut)
        else:
            self._answer(404, b"<h1>Not Found</h1>", {"Content-Type": "text/html"})

    def _file(self, file: Path, *, cut: bool) -> None:
        about = file.stat()
        modified = datetime.fromtimestamp(int(about.st_mtime), UTC)
        etag = f'"{about.st_size:x}-{about.st_mtime_ns // 1000:x}"'
        headers = {"ETag": etag, "Last-Modified": format_datetime(modified, usegmt=True)}
        if self._is_known(etag, modified):
            self._answer(304, b"", headers)
            return
        kind = "application/x-gzip" if self.server.archive.gzipped else "text/csv"
        self._answer(200, self.server.archive.content(file), {**headers, "Content-Type": kind}, cut=cut)

    def _is_known(self, etag: str, modified: datetime) -> bool:
        if (offered := self.headers.get("If-None-Match")) is not None:
            return etag in (tag.strip() for tag in offered.split(","))
        since = self.headers.get("If-Modified-Since")
        return since is not None and modified <= parsedate_to_datetime(since)

    def _answer(self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        self.server.archive.count_answer(0 if cut else status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing; the counters tell."""


def _index_page(path: str, files: dict[str, Path]) -> str:
    """Apache's autoindex with HTMLTable and FancyIndexing."""
    title = f"Index of {html.escape(path.rstrip('/'))}"
    rows = "\n".join(_index_row(name, file) for name, file in files.items())
    parent = html.escape(path.rstrip("/").rpartition("/")[0] + "/")
    return f"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html>
 <head>
  <title>{title}</title>
 </head>
 <body>
<h1>{title}</h1>
  <table>
   <tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th><th><a href="?C=N;O=D">Name</a></th>\
<th><a href="?C=M;O=A">Last modified</a></th><th><a href="?C=S;O=A">Size</a></th>\
<th><a href="?C=D;O=A">Description</a></th></tr>
   <tr><th colspan="5"><hr></th></tr>
<tr><td valign="top"><img src="/icons/back.gif" alt="[PARENTDIR]"></td>\
<td><a href="{parent}">Parent Directory</a></td><td>&nbsp;</td><td align="right">  - </td><td>&nbsp;</td></tr>
{rows}
   <tr><th colspan="5"><hr></th></tr>
</table>
</body></html>
"""


def _index_row(name: str, file: Path) -> str:
    about = file.stat()
    modified = datetime.fromtimestamp(about.st_mtime, UTC).strftime("%Y-%m-%d %H:%M")
    size = f"{about.st_size}" if about.st_size < 1024 else f"{about.st_size / 1024:.0f}K"
    safe = html.escape(name)
    return (
        '<tr><td valign="top"><img src="/icons/unknown.gif" alt="[   ]"></td>'
        f'<td><a href="{safe}">{safe}</a></td><td align="right">{modified}  </td>'
        f'<td align="right">{size:>4}</td><td>&nbsp;</td></tr>'
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a folder until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m ionbeam.testing.archive",
        description="Serve a folder as the Sensor.Community archive.",
    )
    parser.add_argument("folder", type=Path, help="holds YYYY-MM-DD/*.csv")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--gzip", action="store_true", help="offer .csv files as .csv.gz")
    parser.add_argument("--year-folders", action="store_true", help="keep past years under /YYYY/")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    server = ArchiveServer(
        options.folder, options.port, gzipped=options.gzip, year_folders=options.year_folders
    )
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
