"""The text of manifests: read as kubectl does, and what a lenient reader lets pass is refused with its place."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.api.document import MOST_CHARACTERS, MOST_DEPTH, MOST_VALUES, Unreadable, read


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


BOMB = "a: [&a [x, x, x, x, x, x, x, x], " + ", ".join(
    f"&{name} [{', '.join([f'*{of}'] * 8)}]" for of, name in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ("---\n---\na: 1\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ('{"a": [1, null, true, 0.5, "x"]}', [{"a": [1, None, True, 0.5, "x"]}]),
        ("a: 2026-01-31", [{"a": "2026-01-31"}]),
        ("a: =", [{"a": "="}]),
        ("a: yes", [{"a": True}]),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", [{"a": {"b": 1}, "c": {"b": 1, "d": 2}}]),
        ('{"a": "\\ud83d\\ude00"}', [{"a": "😀"}]),
        ("\ufeffa: 1", [{"a": 1}]),
        (deep(MOST_DEPTH), [json.loads(deep(MOST_DEPTH))]),
        (f"a: {'x' * 100_000}", [{"a": "x" * 100_000}]),
    ],
)
def test_is_read_as_kubectl_reads_it(text: str, values: list[object]) -> None:
    assert [document.value for document in read(text)] == values


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: 2\na: 3", (3, 1), "the field 'a' is written twice"),
        ('{"a": {"b": 1, "b": 1}}', (1, 16), "the field 'b' is written twice"),
        ("<<: {a: 1}\n<<: {b: 2}", (2, 1), "the field '<<' is written twice"),
        (deep(MOST_DEPTH + 1), (1, MOST_DEPTH + 1), "is nested deeper than 64 levels"),
        ("{a: " * 5000, (1, 254), "is nested deeper than 64 levels"),
        ("- " * 5000, (1, 2 * MOST_DEPTH + 1), "is nested deeper than 64 levels"),
        (
            "\n".join(["a0: &a0 [1]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 99))]),
            (64, 6),
            "is nested deeper than 64 levels",
        ),
        ("a: &x [*x]", (1, 8), "an alias refers to what it is a part of"),
        ("&x {a: {b: *x}}", (1, 12), "an alias refers to what it is a part of"),
        (f"{BOMB}]", (1, 145), f"has more than {MOST_VALUES} values"),
        ("- a\n" * MOST_VALUES, (MOST_VALUES, 3), f"has more than {MOST_VALUES} values"),
        ("a" * (MOST_CHARACTERS + 1), (0, 0), "is larger than the 1.5 MiB that the API server stores"),
        (
            "a: !!python/object/apply:os.system [x]",
            (1, 4),
            "the tag !!python/object/apply:os.system is not for manifests",
        ),
        ("a: !!binary aGk=", (1, 4), "the tag !!binary is not for manifests"),
        ("!custom {a: 1}", (1, 1), "the tag !custom is not for manifests"),
        ("a: !!int x", (1, 4), "'x' is no int"),
        ("a: !!bool maybe", (1, 4), "'maybe' is no bool"),
        (f"a: {'9' * 5000}", (1, 4), f"'{'9' * 60}' is no int"),
        ("a: .nan", (1, 4), "'.nan' is no float"),
        ("? {a: 1}\n: b", (1, 3), "a key is a list or an object"),
        ('a: "\\ud83d"', (1, 4), "has half of a character"),
        ("a: b: c", (1, 5), "not YAML: mapping values are not allowed here"),
        ("a: *b", (1, 4), "not YAML: found undefined alias 'b'"),
        ("a: &b 1\nc: &b 2", (2, 4), "not YAML: found duplicate anchor 'b'; first occurrence"),
        ("a: \x00", (0, 0), "not YAML: special characters are not allowed"),
        ("'", (1, 2), "not YAML: found unexpected end of stream"),
    ],
)
def test_is_refused_with_its_place(text: str, place: tuple[int, int], message: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read(text)
    assert (refused.value.message, refused.value.line, refused.value.column) == (message, *place)
    assert refused.value.hint


def test_bounds_are_those_of_one_document() -> None:
    half = "- a\n" * (MOST_VALUES // 2)
    assert len(read(f"{half}---\n{half}---\n{half}")) == 3


json_values = st.recursive(  # YAML reads keys of up to 1 024 characters, and JSON writes six for one
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=80), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(json_values)
def test_json_is_read_as_json(value: object) -> None:
    assert [document.value for document in read(json.dumps(value))] == ([] if value is None else [value])


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(Unreadable):
        assert all(document.value is not None for document in read(text))
