"""The only HTTP client: patient with servers, strict with bodies, and it asks for nothing twice.

Every answer is kept in a cache folder, one file per URL: a line of JSON that describes the body,
then the body. The next request carries the stored validators, so an unchanged resource costs one
304. HTTP semantics follow RFC 9110 (conditional requests, Retry-After) and RFC 9111.
"""

import asyncio
import hashlib
import json
import os
import random
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import structlog

from ionbeam import __version__
from ionbeam.errors import SourceRejected, SourceUnavailable
from ionbeam.ports import Response

log = structlog.get_logger(__name__)

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 60.0
_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_PASSING = {408, 425, 429}
"""Client errors that another attempt may cure."""


class HttpFetcher:
    """A `Fetcher` over HTTP.

    At most ``concurrency`` requests are under way, each tried up to ``attempts`` times. A body of
    more than ``max_bytes``, counted after decompression, is refused. With ``cache_only`` nothing is
    sent: what the cache does not hold is `SourceUnavailable`. Without ``cache_dir`` nothing is kept.
    """

    def __init__(
        self,
        cache_dir: Path | None,
        *,
        timeout_s: float = 60,
        concurrency: int = 10,
        attempts: int = 5,
        cache_only: bool = False,
        user_agent: str = f"ionbeam/{__version__}",
        max_bytes: int = 256 * 2**20,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cache = _Cache(cache_dir) if cache_dir is not None else None
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(concurrency)
        self._attempts = attempts
        self._cache_only = cache_only
        self._user_agent = user_agent
        self._max_bytes = max_bytes
        self._sleep = sleep
        self._client: httpx.AsyncClient | None = None

    async def get(self, url: str) -> Response:
        """The resource at ``url``, or an answer with status 404 when there is none.

        Raises `SourceUnavailable` after the last attempt, `SourceRejected` for other client errors,
        a redirect to another host, or a body that is too large.
        """
        known = await asyncio.to_thread(self._cache.load, url) if self._cache else None
        if self._cache_only:
            if known is None:
                raise SourceUnavailable(f"{url} is not in the cache, and only the cache may be asked")
            return known
        async with self._slots:
            answer = await self._persistently(url, known)
        if self._cache and answer is not known:
            try:
                await asyncio.to_thread(self._cache.store, url, answer)
            except OSError as error:
                # The answer is whole all the same; only the next request costs more.
                log.warning("cache not written", url=url, reason=str(error))
        return answer

    async def close(self) -> None:
        """Give connections back; the fetcher may be used again."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _persistently(self, url: str, known: Response | None) -> Response:
        for attempt in range(1, self._attempts + 1):
            try:
                return await self._once(url, known)
            except _Passing as fault:
                reason = f"{url} {fault.reason}"
                if attempt == self._attempts:
                    break
                wait_s = fault.wait_s if fault.wait_s is not None else _backoff_s(attempt)
                log.info(
                    "fetch again", url=url, attempt=attempt, reason=fault.reason, wait_s=round(wait_s, 2)
                )
            await self._sleep(wait_s)
        raise SourceUnavailable(f"{reason}; gave up after {self._attempts} attempts")

    async def _once(self, url: str, known: Response | None) -> Response:
        """One attempt, redirects included; `_Passing` when another may succeed."""
        try:
            target = httpx.URL(url)
            for _ in range(_MAX_REDIRECTS):
                async with self._connected().stream("GET", target, headers=_validators(known)) as reply:
                    if reply.status_code not in _REDIRECTS:
                        return await self._read(reply, url, known)
                    target = _redirected(reply)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise SourceRejected(f"{url!r} is not an address that can be asked: {error}") from error
        except httpx.RequestError as error:
            raise _Passing(f"failed ({type(error).__name__}: {error})") from error
        raise SourceRejected(f"{url} redirects more than {_MAX_REDIRECTS} times")

    async def _read(self, reply: httpx.Response, url: str, known: Response | None) -> Response:
        status = reply.status_code
        if status == 304 and known is not None:
            return known
        if status in _PASSING or status >= 500:
            raise _Passing(f"answers {status}", retry_after_s(reply.headers, datetime.now(UTC)))
        # We never ask for a part, so 206 would be a partial body.
        if status != 404 and (not 200 <= status < 300 or status == 206):
            raise SourceRejected(f"{url} answers {status} {reply.reason_phrase}".rstrip())
        # A body shorter than its Content-Length, or a chunked one that breaks off, raises in here.
        content = bytearray()
        async for part in reply.aiter_bytes():
            content += part
            if len(content) > self._max_bytes:
                raise SourceRejected(f"{url} is larger than the allowed {self._max_bytes} bytes")
        return Response(status, {k.lower(): v for k, v in reply.headers.items()}, bytes(content))

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=self._timeout_s, headers={"User-Agent": self._user_agent}, follow_redirects=False
            )
        return self._client


class _Passing(Exception):
    """A failure another attempt may cure, and how long the server wants us to wait."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s


def retry_after_s(headers: httpx.Headers, now: datetime) -> float | None:
    """Seconds to wait as ``Retry-After`` says, between 0 and a minute; None when it says nothing.

    A date is compared with the server's own ``Date`` where there is one, so clocks may differ.
    """
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return min(float(value), _LONGEST_WAIT_S)
    until = _http_date(value)
    if until is None:
        return None
    wait_s = (until - (_http_date(headers.get("date", "")) or now)).total_seconds()
    return min(max(wait_s, 0.0), _LONGEST_WAIT_S)


def _http_date(text: str) -> datetime | None:
    try:
        value = parsedate_to_datetime(text)
    except ValueError:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _backoff_s(attempt: int) -> float:
    longest = min(_FIRST_WAIT_S * 2.0 ** (attempt - 1), _LONGEST_WAIT_S)
    return longest * random.uniform(0.5, 1.0)


def _validators(known: Response | None) -> dict[str, str]:
    """The request headers that ask for news only."""
    pairs = {"If-None-Match": "etag", "If-Modified-Since": "last-modified"}
    held = known.headers if known is not None and known.status != 404 else {}
    return {name: held[source] for name, source in pairs.items() if source in held}


def _redirected(reply: httpx.Response) -> httpx.URL:
    """Where a redirect leads; `SourceRejected` when that is another host or gives up encryption."""
    here = reply.request.url
    there = here.join(reply.headers.get("location", ""))
    allowed = {(here.scheme, here.port), ("https", None)}
    if there.host != here.host or (there.scheme, there.port) not in allowed:
        raise SourceRejected(
            f"{here} redirects to {there}, which is another place; ask that one if it is meant"
        )
    return there


@dataclass(frozen=True, slots=True)
class _Cache:
    """Answers on disk; a damaged entry is no entry."""

    folder: Path

    def load(self, url: str) -> Response | None:
        try:
            head, _, content = self._path(url).read_bytes().partition(b"\n")
            about = json.loads(head)
            if about["url"] != url or about["sha256"] != hashlib.sha256(content).hexdigest():
                return None
            return Response(about["status"], about["headers"], content)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def store(self, url: str, answer: Response) -> None:
        about = {
            "url": url,
            "status": answer.status,
            "headers": answer.headers,
            "sha256": hashlib.sha256(answer.content).hexdigest(),
        }
        path = self._path(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            try:
                file.write(json.dumps(about).encode() + b"\n" + answer.content)
                file.close()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise

    def _path(self, url: str) -> Path:
        name = hashlib.sha256(url.encode()).hexdigest()
        return self.folder / name[:2] / name
