from datetime import UTC, datetime

import pytest

from ionbeam.cli.failures import Misuse
from ionbeam.cli.finding import one_of, span_of

KNOWN = ["north", "north.sea", "south"]


@pytest.mark.parametrize(("text", "meant"), [("north", "north"), ("north.", "north.sea"), ("s", "south")])
def test_a_name_or_its_first_letters_will_do(text: str, meant: str) -> None:
    assert one_of("dataset", text, KNOWN) == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("n", "'n' begins more than one dataset: north, north.sea"),
        ("suoth", "there is no dataset 'suoth'; did you mean 'south'?"),
        ("zzz", "there is no dataset 'zzz'; choose from north, north.sea, south"),
    ],
)
def test_what_is_not_clear_is_answered_with_what_there_is(text: str, told: str) -> None:
    with pytest.raises(Misuse) as raised:
        one_of("dataset", text, KNOWN)
    assert str(raised.value) == told


def test_only_some_of_many_names_are_told() -> None:
    with pytest.raises(Misuse, match="choose from 0, 1, 2, 3, 4 and 15 more"):
        one_of("entry", "x", [str(number) for number in range(20)])


def test_a_span_may_be_open_on_either_side() -> None:
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    assert span_of("2024-01-01T12:00:00Z", None).start == noon
    assert span_of(None, "2024-01-01T13:00:00+01:00").end == noon
    assert span_of(None, None).length.days > 3_000_000
