"""A dataset's name as a part of keys."""

from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ionbeam.observations.naming import LONGEST_NAME, object_name
from ionbeam.records import WindowKey


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("netatmo", "netatmo"),
        ("sensor.community", "sensor.community"),
        ("a-b_c.D9", "a-b_c.D9"),
        ("my data/set", "my%20data%2Fset"),
        ("ü", "%C3%BC"),
        ("~", "%7E"),
        (".hidden", "%2Ehidden"),
        (".", "%2E"),
        ("..", "%2E."),
        ("a%2Fb", "a%252Fb"),
    ],
)
def test_what_could_mean_something_in_a_key_is_encoded(name: str, written: str) -> None:
    assert object_name(name) == written


@given(st.text(min_size=1))
@example("..")
@example("~/.")
def test_a_name_is_one_part_of_a_key_and_can_be_told_from_it(name: str) -> None:
    written = object_name(name)
    assert unquote(written, errors="strict") == name
    assert "/" not in written
    assert not written.startswith(".")


@given(st.lists(st.text("a./%2F~ü\u012f", min_size=1, max_size=4), unique=True))
def test_different_names_stay_different(names: list[str]) -> None:
    assert len({object_name(name) for name in names}) == len(names)


def test_the_longest_name_leaves_room_for_its_window() -> None:
    key = WindowKey(
        "x" * LONGEST_NAME,
        datetime(2024, 1, 1, tzinfo=UTC),
        timedelta(days=364, hours=23, minutes=59, seconds=59),
    )
    assert len(f"{key.file_stem}.manifest.json") <= 255
