import gzip
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from ionbeam.testing.archive import ArchiveServer, Fault

NAME = "2018-11-22_dht22_sensor_1.csv"
CONTENT = b"sensor_id;sensor_type\n1;DHT22\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    day = tmp_path / "2018-11-22"
    day.mkdir()
    (day / NAME).write_bytes(CONTENT)
    (day / "notes.txt").write_text("not offered")
    (tmp_path / "secret.csv").write_text("not offered either")
    return tmp_path


@pytest.fixture
def archive(folder: Path) -> Iterator[ArchiveServer]:
    with ArchiveServer(folder) as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


async def test_a_day_is_listed_as_the_archive_lists_it(archive: ArchiveServer, client: httpx.AsyncClient):
    page = await client.get(f"{archive.url}/2018-11-22/")
    assert page.headers["content-type"].startswith("text/html")
    lines = page.text.splitlines()
    rule = lines.index('   <tr><th colspan="5"><hr></th></tr>')
    assert "Index of /2018-11-22" in page.text
    assert 'alt="[PARENTDIR]"' in lines[rule + 1]
    assert f'<td><a href="{NAME}">{NAME}</a></td><td align="right">' in lines[rule + 2]
    assert lines[rule + 3] == lines[rule]
    assert "notes.txt" not in page.text


async def test_a_file_comes_with_validators_that_answer_304(
    archive: ArchiveServer, client: httpx.AsyncClient, folder: Path
):
    url = f"{archive.url}/2018-11-22/{NAME}"
    first = await client.get(url)
    assert first.content == CONTENT
    for header, value in (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified")):
        assert (await client.get(url, headers={header: first.headers[value]})).status_code == 304
    os.utime(folder / "2018-11-22" / NAME, (2**31, 2**31))
    changed = await client.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert archive.requests[f"/2018-11-22/{NAME}"] == 4
    assert archive.answers == {200: 2, 304: 2}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/2018-11-23/",
        "/2018/2018-11-22/",
        "/2018-11-22/notes.txt",
        "/2018-11-22/other.csv",
        "/2018-11-22/..%2Fsecret.csv",
        "/secret.csv",
    ],
)
async def test_what_the_archive_does_not_offer_is_not_found(
    archive: ArchiveServer, client: httpx.AsyncClient, path: str
):
    assert (await client.get(archive.url + path)).status_code == 404


async def test_past_years_move_into_their_folder_and_this_year_stays(folder: Path, client: httpx.AsyncClient):
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    (folder / today).mkdir()
    with ArchiveServer(folder, year_folders=True) as archive:
        paths = [
            "/2018-11-22/",
            "/2018/2018-11-22/",
            "/2017/2018-11-22/",
            f"/{today}/",
            f"/{today[:4]}/{today}/",
        ]
        statuses = [(await client.get(archive.url + path)).status_code for path in paths]
    assert statuses == [404, 200, 404, 200, 404]


async def test_files_can_be_offered_packed(folder: Path, client: httpx.AsyncClient):
    with ArchiveServer(folder, gzipped=True) as archive:
        page = await client.get(f"{archive.url}/2018-11-22/")
        assert f'href="{NAME}.gz"' in page.text
        packed = await client.get(f"{archive.url}/2018-11-22/{NAME}.gz")
        assert gzip.decompress(packed.content) == CONTENT
        assert (await client.get(f"{archive.url}/2018-11-22/{NAME}")).status_code == 404


async def test_a_path_fails_as_often_as_asked_and_then_works(
    archive: ArchiveServer, client: httpx.AsyncClient
):
    path = f"/2018-11-22/{NAME}"
    archive.fail(path, 2)
    archive.fail(path, 1, Fault(429, retry_after="3"))
    answers = [await client.get(archive.url + path) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 429, 200]
    assert answers[2].headers["Retry-After"] == "3"


@pytest.mark.parametrize("path", [f"/2018-11-22/{NAME}", "/2018-11-22/"])
async def test_a_cut_connection_promises_more_than_it_gives(
    archive: ArchiveServer, client: httpx.AsyncClient, path: str
):
    archive.fail(path, 1, Fault(cut=True))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(archive.url + path)
    assert (await client.get(archive.url + path)).status_code == 200


def test_the_command_prints_its_address_and_serves(folder: Path):
    command = [sys.executable, "-m", "ionbeam.testing.archive", str(folder), "--port", "0", "--gzip"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert httpx.get(f"{url}/2018-11-22/{NAME}.gz").status_code == 200
        finally:
            process.terminate()
