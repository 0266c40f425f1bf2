import asyncio
import gzip
import os
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from ionbeam.errors import SourceRejected, SourceUnavailable
from ionbeam.fetching import HttpFetcher, retry_after_s


@dataclass
class Answer:
    status: int = 200
    body: bytes = b"hello"
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None
    """A Content-Length that is not the body's."""


class ScriptedServer:
    """Gives the scripted answers in turn, the last one again and again."""

    def __init__(self) -> None:
        self.script: deque[Answer] = deque()
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.gate = threading.Event()
        self.gate.set()
        self.three_under_way = threading.Event()
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self.lock:
            self.seen.append((handler.path, {k.lower(): v for k, v in handler.headers.items()}))
            answer = self.script.popleft() if len(self.script) > 1 else self.script[0]
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            if self.under_way == 3:
                self.three_under_way.set()
        self.gate.wait(10)
        with self.lock:
            self.under_way -= 1
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.status != 304:
            length = len(answer.body) if answer.promised is None else answer.promised
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(answer.body if answer.status != 304 else b"")
        handler.close_connection = answer.promised is not None


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    thread = threading.Thread(target=scripted.server.serve_forever, args=(0.02,))
    thread.start()
    yield scripted
    scripted.server.shutdown()
    scripted.server.server_close()
    thread.join()


class Fetchers:
    """Makes fetchers that note how long they would wait, and closes them."""

    def __init__(self, cache_dir: Path) -> None:
        self.cache_dir = cache_dir
        self.waits: list[float] = []
        self.made: list[HttpFetcher] = []

    def __call__(self, cached: bool = True, **options: Any) -> HttpFetcher:
        fetcher = HttpFetcher(self.cache_dir if cached else None, sleep=self.sleep, **options)
        self.made.append(fetcher)
        return fetcher

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def cache_files(self) -> list[Path]:
        return [path for path in self.cache_dir.rglob("*") if path.is_file()]


@pytest.fixture
async def fetchers(tmp_path: Path) -> AsyncIterator[Fetchers]:
    fetchers = Fetchers(tmp_path / "cache")
    yield fetchers
    for fetcher in fetchers.made:
        await fetcher.close()


async def test_an_answer_has_its_status_lower_case_headers_and_body(
    server: ScriptedServer, fetchers: Fetchers
):
    server.script.append(Answer(headers={"X-Kind": "a"}))
    answer = await fetchers(user_agent="tester/1").get(f"{server.url}/a?b=c")
    assert (answer.status, answer.content, answer.text) == (200, b"hello", "hello")
    assert answer.headers["x-kind"] == "a"
    assert server.seen[0][0] == "/a?b=c"
    assert server.seen[0][1]["user-agent"] == "tester/1"


async def test_not_found_is_an_answer(server: ScriptedServer, fetchers: Fetchers):
    server.script.append(Answer(404))
    assert (await fetchers().get(server.url)).status == 404
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 410, 206, 300])
async def test_other_answers_are_rejected_at_once(server: ScriptedServer, fetchers: Fetchers, status: int):
    server.script.append(Answer(status))
    with pytest.raises(SourceRejected, match=str(status)):
        await fetchers().get(server.url)
    assert len(server.seen) == 1
    assert fetchers.cache_files() == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_passing_failure_is_tried_again(server: ScriptedServer, fetchers: Fetchers, status: int):
    server.script.extend([Answer(status), Answer(status), Answer()])
    assert (await fetchers().get(server.url)).content == b"hello"
    assert len(fetchers.waits) == 2


async def test_waits_grow_and_differ(server: ScriptedServer, fetchers: Fetchers):
    server.script.append(Answer(503))
    with pytest.raises(SourceUnavailable, match="503; gave up after 5 attempts"):
        await fetchers().get(server.url)
    assert len(server.seen) == 5
    for wait, longest in zip(fetchers.waits, [0.5, 1, 2, 4], strict=True):
        assert longest / 2 <= wait <= longest


async def test_a_server_that_names_its_time_is_obeyed(server: ScriptedServer, fetchers: Fetchers):
    server.script.extend([Answer(429, headers={"Retry-After": "7"}), Answer()])
    await fetchers().get(server.url)
    assert fetchers.waits == [7.0]


NOW = datetime(2024, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "86400"}, 60),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=9), usegmt=True)}, 9),
        ({"Retry-After": format_datetime(NOW - timedelta(seconds=9), usegmt=True)}, 0),
        (
            {
                "Date": format_datetime(NOW + timedelta(hours=1), usegmt=True),
                "Retry-After": format_datetime(NOW + timedelta(hours=1, seconds=3), usegmt=True),
            },
            3,
        ),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], expected: float | None):
    assert retry_after_s(httpx.Headers(headers), NOW) == expected


async def test_nobody_listening_is_unavailable(server: ScriptedServer, fetchers: Fetchers):
    fetcher = fetchers(attempts=2)
    with pytest.raises(SourceUnavailable, match="ConnectError"):
        await fetcher.get("http://127.0.0.1:1/")
    assert len(fetchers.waits) == 1


@pytest.mark.parametrize(
    "url", ["", "archive.test/x", "ftp://127.0.0.1/x", "http://[::1", "file:///etc/hostname"]
)
async def test_what_is_no_http_address_is_rejected(fetchers: Fetchers, url: str):
    with pytest.raises(SourceRejected):
        await fetchers().get(url)


async def test_a_body_that_breaks_off_is_fetched_again_never_returned(
    server: ScriptedServer, fetchers: Fetchers
):
    server.script.extend([Answer(body=b"hel", promised=5), Answer()])
    assert (await fetchers().get(server.url)).content == b"hello"
    server.script.clear()
    server.script.append(Answer(body=b"hel", promised=5))
    with pytest.raises(SourceUnavailable, match="without sending complete message body"):
        await fetchers(cached=False).get(server.url)


async def test_a_body_over_the_limit_is_rejected_even_when_it_comes_packed(
    server: ScriptedServer, fetchers: Fetchers
):
    server.script.append(Answer(body=b"x" * 1001))
    with pytest.raises(SourceRejected, match="larger than the allowed 1000 bytes"):
        await fetchers(max_bytes=1000).get(server.url)
    server.script.clear()
    server.script.append(Answer(body=gzip.compress(b"x" * 10**6), headers={"Content-Encoding": "gzip"}))
    with pytest.raises(SourceRejected, match="larger"):
        await fetchers(max_bytes=5000).get(server.url)


async def test_no_more_requests_are_under_way_than_allowed(server: ScriptedServer, fetchers: Fetchers):
    server.script.append(Answer())
    server.gate.clear()
    fetcher = fetchers(concurrency=3)
    gets = [asyncio.create_task(fetcher.get(f"{server.url}/{n}")) for n in range(9)]
    assert await asyncio.to_thread(server.three_under_way.wait, 10)
    server.gate.set()
    await asyncio.gather(*gets)
    assert server.most_under_way == 3


# Redirects


async def test_a_redirect_on_the_same_host_is_followed(server: ScriptedServer, fetchers: Fetchers):
    server.script.extend([Answer(301, headers={"Location": "/there/"}), Answer()])
    assert (await fetchers().get(f"{server.url}/there")).content == b"hello"
    assert [path for path, _ in server.seen] == ["/there", "/there/"]


@pytest.mark.parametrize("target", ["http://localhost/x", "http://127.0.0.1:1/x", "file:///etc/hostname"])
async def test_a_redirect_to_another_place_is_rejected(
    server: ScriptedServer, fetchers: Fetchers, target: str
):
    server.script.append(Answer(302, headers={"Location": target}))
    with pytest.raises(SourceRejected, match="another place"):
        await fetchers().get(server.url)
    assert len(server.seen) == 1


async def test_redirects_in_a_circle_are_rejected(server: ScriptedServer, fetchers: Fetchers):
    server.script.append(Answer(302, headers={"Location": "/again"}))
    with pytest.raises(SourceRejected, match="redirects more than"):
        await fetchers().get(server.url)


# The cache


async def test_an_unchanged_resource_is_answered_from_the_cache(server: ScriptedServer, fetchers: Fetchers):
    date = format_datetime(NOW, usegmt=True)
    server.script.extend([Answer(headers={"ETag": '"1"', "Last-Modified": date}), Answer(304)])
    first = await fetchers().get(server.url)
    assert await fetchers().get(server.url) == first
    assert server.seen[1][1]["if-none-match"] == '"1"'
    assert server.seen[1][1]["if-modified-since"] == date


async def test_a_changed_resource_replaces_the_cached_one(server: ScriptedServer, fetchers: Fetchers):
    server.script.extend(
        [Answer(headers={"ETag": '"1"'}), Answer(body=b"new", headers={"ETag": '"2"'}), Answer(304)]
    )
    bodies = [(await fetchers().get(server.url)).content for _ in range(3)]
    assert bodies == [b"hello", b"new", b"new"]
    assert server.seen[2][1]["if-none-match"] == '"2"'
    assert len(fetchers.cache_files()) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "no json", "other url"])
async def test_a_damaged_entry_is_fetched_again(server: ScriptedServer, fetchers: Fetchers, damage: str):
    server.script.append(Answer(headers={"ETag": '"1"'}))
    await fetchers().get(server.url)
    (entry,) = fetchers.cache_files()
    whole = entry.read_bytes()
    entry.write_bytes(
        {
            "cut": whole[:-1],
            "flipped": whole[:-1] + b"0",
            "emptied": b"",
            "no json": b"[1]\n" + whole,
            "other url": whole.replace(b"127.0.0.1", b"127.0.0.2"),
        }[damage]
    )
    assert (await fetchers().get(server.url)).content == b"hello"
    assert "if-none-match" not in server.seen[1][1]
    assert (await fetchers(cache_only=True).get(server.url)).content == b"hello"


async def test_the_cache_alone_answers_what_it_holds_and_nothing_else(
    server: ScriptedServer, fetchers: Fetchers
):
    server.script.extend([Answer(), Answer(404)])
    for path in ("there", "gone"):
        await fetchers().get(f"{server.url}/{path}")
    offline = fetchers(cache_only=True)
    assert (await offline.get(f"{server.url}/there")).content == b"hello"
    assert (await offline.get(f"{server.url}/gone")).status == 404
    with pytest.raises(SourceUnavailable, match="not in the cache"):
        await offline.get(f"{server.url}/other")
    assert len(server.seen) == 2


async def test_what_was_not_there_is_asked_for_without_conditions(server: ScriptedServer, fetchers: Fetchers):
    server.script.extend([Answer(404, headers={"ETag": '"x"'}), Answer()])
    await fetchers().get(server.url)
    assert (await fetchers().get(server.url)).content == b"hello"
    assert "if-none-match" not in server.seen[1][1]


async def test_without_a_folder_nothing_is_kept(server: ScriptedServer, fetchers: Fetchers):
    server.script.append(Answer(headers={"ETag": '"1"'}))
    fetcher = fetchers(cached=False)
    await fetcher.get(server.url)
    await fetcher.get(server.url)
    assert "if-none-match" not in server.seen[1][1]


async def test_a_cache_that_cannot_be_written_costs_no_answer(
    server: ScriptedServer, fetchers: Fetchers, monkeypatch: pytest.MonkeyPatch
):
    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    server.script.append(Answer())
    assert (await fetchers().get(server.url)).content == b"hello"
    assert fetchers.cache_files() == []


async def test_a_closed_fetcher_connects_again(server: ScriptedServer, fetchers: Fetchers):
    server.script.append(Answer())
    fetcher = fetchers()
    for _ in range(2):
        await fetcher.get(server.url)
        await fetcher.close()
    assert Counter(path for path, _ in server.seen) == {"/": 2}
