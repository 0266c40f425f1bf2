import pytest

from ionbeam.config.document import Document, dotted, parse
from ionbeam.errors import ConfigInvalid


def read(text: str, **environment: str) -> Document:
    return parse(text, "ours.yaml", environment)


def test_every_key_knows_its_line():
    document = read("broker:\n  url: x\nscheduler:\n  windows:\n    - source_name: a\n    - source_name: b\n")
    assert document.lines[("broker", "url")] == 2
    assert document.where(("scheduler", "windows", 1, "source_name")) == (
        "scheduler.windows[1].source_name (line 6)"
    )


def test_an_absent_key_is_placed_at_the_block_it_belongs_to():
    document = read("scheduler:\n  windows:\n    - source_name: a\n")
    path = ("scheduler", "windows", 0, "window_size")
    assert document.where(path) == "scheduler.windows[0].window_size (line 3)"


def test_a_key_that_stands_nowhere_has_no_line():
    assert read("a: 1").where(("b", "c")) == "b.c"


def test_keys_without_a_value_are_as_if_they_were_not_there():
    assert read("redis:\nlogging:\n  level:\n").values == {"logging": {}}


@pytest.mark.parametrize("text", ["", "# only a remark\n", "---\n"])
def test_an_empty_file_says_nothing(text: str):
    assert read(text).values == {}


def test_values_keep_their_yaml_types():
    assert read("a: 1\nb: 1.5\nc: true\nd: PT1H\ne: [1, two]\n").values == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": "PT1H",
        "e": [1, "two"],
    }


def test_environment_variables_are_filled_in_anywhere_in_a_text():
    document = read("url: amqp://${WHO}:${WORD}@host/\nlist: ['${WHO}']", WHO="me", WORD="x")
    assert document.values == {"url": "amqp://me:x@host/", "list": ["me"]}


@pytest.mark.parametrize(("given", "expected"), [({}, "30"), ({"T": "5"}, "5"), ({"T": ""}, "")])
def test_a_default_stands_in_for_a_variable_that_is_not_set(given: dict[str, str], expected: str):
    assert read("t: ${T:30}", **given).values == {"t": expected}


def test_a_default_may_hold_colons_and_may_be_empty():
    assert read("a: ${A:http://x:1}\nb: '${B:}'").values == {"a": "http://x:1", "b": ""}


def test_what_a_variable_holds_is_not_read_again():
    assert read("a: ${A}", A="${B}").values == {"a": "${B}"}


def test_a_missing_variable_is_named_with_its_key_and_line():
    with pytest.raises(
        ConfigInvalid, match=r"ours\.yaml: a\.b \(line 2\) needs .* NOWHERE, which is not set"
    ):
        read("a:\n  b: ${NOWHERE}\n")


def test_a_block_given_twice_is_merged_and_told():
    document = read("p:\n  a: 1\nq: 2\np:\n  b: 2\n")
    assert document.values == {"p": {"a": 1, "b": 2}, "q": 2}
    assert document.remarks == ("p stands on lines 1 and 4; both are used",)


def test_a_key_with_two_values_is_refused_with_both_lines():
    with pytest.raises(ConfigInvalid, match=r"p\.a is given twice, on lines 2 and 4"):
        read("p:\n  a: 1\np:\n  a: 2\n")


def test_merged_anchors_give_way_to_a_block_s_own_keys():
    document = read("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz: {<<: *x}\n")
    assert document.values["y"] == {"a": 1, "b": 3}
    assert document.values["z"] == {"a": 1, "b": 2}


def test_what_is_no_yaml_is_refused_with_the_line():
    with pytest.raises(ConfigInvalid, match=r"ours\.yaml is not valid YAML: .*line 2"):
        read("a: 1\nb: [1, 2\n")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words"])
def test_what_has_no_keys_is_refused(text: str):
    with pytest.raises(ConfigInvalid, match="must hold keys and values"):
        read(text)


def test_no_python_object_is_ever_made_from_a_file():
    with pytest.raises(ConfigInvalid, match="not valid YAML"):
        read("a: !!python/object/apply:os.getcwd []")


def test_a_path_reads_as_it_is_written():
    assert dotted(("scheduler", "windows", 0, "window_size")) == "scheduler.windows[0].window_size"
