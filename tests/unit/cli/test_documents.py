"""Files as documents: YAML 1.2's scalars, places, and what cannot be read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.documents import Located, Malformed, Place, read_documents, written

texts = st.text(st.characters(blacklist_categories=["Cs"])) | st.sampled_from(
    [
        "yes",
        "no",
        "on",
        "~",
        "null",
        "1",
        "1e3",
        "0x1f",
        "0o7",
        "1:30",
        "2026-01-01",
        "=",
        "<<",
        ".5",
        "+1",
        "-",
        "#",
        "",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


def read(text: str) -> list[Located]:
    return list(read_documents(text.encode(), "f"))


@given(values.filter(lambda value: value is not None))
def test_what_is_written_is_read_again(value: Any) -> None:
    (document,) = read(written(value))
    assert document.value == value
    assert type(document.value) is type(value)


def test_scalars_are_those_of_yaml_1_2_and_every_value_knows_its_place() -> None:
    (document, second) = read("a: yes\nb:\n- on: 2026-01-01\n  n: 010\n  f: 1e3\n---\n---\nx: y\n")
    assert document.value == {"a": "yes", "b": [{"on": "2026-01-01", "n": 10, "f": 1000.0}]}
    assert second.value == {"x": "y"}
    assert document.place("b[0].f") == Place("f", 5, 3)
    assert document.place("b[0].f.deeper[7]") == Place("f", 5, 3)
    assert document.place("b[9]") == Place("f", 2, 1)
    assert document.place("nowhere") == document.place("") == Place("f", 1, 1)
    (item,) = document.items("b")
    assert item.place("n") == Place("f", 4, 3)
    assert item.told("n: too large") == "f:4:3: n: too large"
    assert item.told("No path begins this") == "f:3:3: No path begins this"


def test_aliases_and_merged_keys_are_filled_in() -> None:
    text = "base: &b {x: 1, y: 2}\nmore: &m\n  <<: *b\n  y: 3\nlist:\n  <<: [*m, {z: 4}]\n  x: 0\n"
    (document,) = read(text)
    assert document.value["list"] == {"x": 0, "y": 3, "z": 4}


def test_json_may_be_indented_with_tabs_and_has_its_escapes() -> None:
    (document,) = read('{\n\t"a": "\\ud83d\\ude00",\n\t"b": "\\/"\n}')
    assert document.value == {"a": "😀", "b": "/"}


@pytest.mark.parametrize(
    ("text", "place", "fragment"),
    [
        ("a: 1\nb: [", "f:2:5", "expected"),
        ("a: 1\na: 2", "f:2:1", "came already in line 1"),
        ("a: *b", "f:1:4", "undefined alias"),
        ("&a [*a]", "f:1:1", "too deeply"),
        ("[" * 5000, "f:1:1", "too deeply"),
        ("<<: 3", "f:1:5", "wants a mapping"),
        ("1: x", "f:1:1", "quotes"),
        ("[x]: y", "f:1:1", "quotes"),
        ("a: !!set {x}", "f:1:4", "set"),
        ('a: "\\ud800"', "f:1:4", "surrogate"),
        ("a:\n  b: \x07", "f:2:6", "may not stand"),
        ("a: " + "9" * 5000, "f:1:4", ""),
    ],
)
def test_what_cannot_be_read_names_its_place(text: str, place: str, fragment: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(text)
    assert str(refused.value).startswith(f"{place}: ")
    assert fragment in str(refused.value)


def test_bytes_that_are_no_utf8_name_their_place_and_a_mark_at_the_beginning_is_none_of_it() -> None:
    with pytest.raises(Malformed, match=r"^f:2:4: not UTF-8"):
        list(read_documents(b"a: 1\nb: \xff", "f"))
    assert [document.value for document in read_documents(b"\xef\xbb\xbfa: 1", "f")] == [{"a": 1}]


def test_a_few_lines_of_aliases_cannot_stand_for_a_billion_values() -> None:
    lines = ["a0: &a0 x"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(Malformed, match="too much of it"):
        read("\n".join(lines))
