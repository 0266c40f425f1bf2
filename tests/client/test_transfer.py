from pathlib import Path

import pyarrow as pa
import pytest

from ionbeam.stores.local import LocalBatchStore
from ionbeam_client.errors import InvalidInput, ObjectExists, ObjectMissing, StoreUnavailable
from ionbeam_client.transfer import ArrowStore, LocalFileSystemStore, read_dataset


@pytest.fixture
def arrows(tmp_path: Path) -> ArrowStore:
    return LocalFileSystemStore(tmp_path)


def numbers(*values: int) -> pa.Table:
    return pa.table({"n": list(values)})


async def test_batches_come_back_in_order_and_in_the_size_asked_for(
    arrows: ArrowStore, tmp_path: Path
) -> None:
    assert await arrows.write_record_batches("a/b", [numbers(1, 2, 3), numbers(4, 5)]) == 5
    assert (tmp_path / "a" / "b.parquet").is_file()
    batches = [batch.column("n").to_pylist() async for batch in arrows.read_record_batches("a/b", 2)]
    assert batches == [[1, 2], [3, 4], [5]]


async def test_the_suffix_may_be_given(arrows: ArrowStore) -> None:
    await arrows.write_record_batches("a.parquet", [numbers(1)])
    assert await arrows.exists("a")
    assert await arrows.exists("a.parquet")


async def test_an_object_is_replaced_only_on_request(arrows: ArrowStore) -> None:
    await arrows.write_record_batches("a", [numbers(1)])
    with pytest.raises(ObjectExists):
        await arrows.write_record_batches("a", [numbers(2)])
    await arrows.write_record_batches("a", [numbers(3)], overwrite=True)
    assert [batch.column("n").to_pylist() async for batch in arrows.read_record_batches("a")] == [[3]]


async def test_a_given_schema_is_what_is_written(arrows: ArrowStore) -> None:
    schema = pa.schema([("m", pa.string()), ("n", pa.float64())])
    await arrows.write_record_batches("a", [numbers(1)], schema)
    (batch,) = [batch async for batch in arrows.read_record_batches("a")]
    assert batch.to_pylist() == [{"m": None, "n": 1.0}]


async def test_no_rows_store_nothing(arrows: ArrowStore) -> None:
    assert await arrows.write_record_batches("a", [numbers()]) == 0
    assert not await arrows.exists("a")


async def test_a_deleted_object_is_gone(arrows: ArrowStore) -> None:
    await arrows.write_record_batches("a", [numbers(1)])
    await arrows.delete("a")
    await arrows.delete("a")
    assert not await arrows.exists("a")
    with pytest.raises(ObjectMissing):
        await anext(arrows.read_record_batches("a"))


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/absolute", "a//b"])
async def test_keys_that_lead_elsewhere_are_refused(arrows: ArrowStore, key: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        await arrows.write_record_batches(key, [numbers(1)])
    with pytest.raises(InvalidInput):
        await arrows.exists(key)
    assert not (tmp_path.parent / "outside.parquet").exists()


async def test_a_dataset_is_read_by_its_key_or_its_absolute_path(tmp_path: Path) -> None:
    elsewhere = LocalFileSystemStore(tmp_path / "elsewhere")
    await elsewhere.write_record_batches("w", [numbers(1, 2, 3)])
    objects = LocalBatchStore(tmp_path / "objects")
    await objects.put("datasets/w.parquet", tmp_path / "elsewhere/w.parquet")
    for location in ("datasets/w.parquet", "datasets/w", str(tmp_path / "elsewhere/w.parquet")):
        batches = [batch.column("n").to_pylist() async for batch in read_dataset(objects, location, 2)]
        assert batches == [[1, 2], [3]]
    assert not (tmp_path / "elsewhere/datasets").exists()


async def test_a_dataset_that_is_not_there_is_named(tmp_path: Path) -> None:
    objects = LocalBatchStore(tmp_path / "objects")
    with pytest.raises(ObjectMissing, match=r"nowhere/w\.parquet"):
        await anext(read_dataset(objects, str(tmp_path / "nowhere/w.parquet")))
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(StoreUnavailable, match=r"folder\.parquet"):
        await anext(read_dataset(objects, str(tmp_path / "folder.parquet")))


@pytest.mark.parametrize(
    "location", ["../outside.parquet", "a/../../outside.parquet", "./outside", "~/outside"]
)
async def test_a_relative_location_stays_inside_the_store(location: str, tmp_path: Path) -> None:
    await LocalFileSystemStore(tmp_path).write_record_batches("outside", [numbers(1)])
    objects = LocalBatchStore(tmp_path / "objects")
    with pytest.raises((InvalidInput, ObjectMissing)):
        await anext(read_dataset(objects, location))
