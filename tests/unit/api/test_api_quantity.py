"""Quantities and durations: the API server's forms, taken from a real one (1.37)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.api.duration import parse_duration
from slipway.api.quantity import canonical_quantity, parse_quantity

UNITS = ["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
quantities = st.builds(
    lambda whole, part, unit: f"{whole}{f'.{part}' if part else ''}{unit}",
    st.integers(0, 10**7),
    st.integers(0, 999),
    st.sampled_from(UNITS[2:]),
)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("0.5", "500m"),
        ("1.5Gi", "1536Mi"),
        ("1500m", "1500m"),
        ("2000", "2k"),
        ("1024", "1024"),
        ("1000000Ki", "1000000Ki"),
        ("1.1Gi", "1181116006400m"),
        ("0.0001", "1m"),
        ("0Mi", "0"),
        ("1000P", "1E"),
        ("250m", "250m"),
    ],
)
def test_canonical_form_is_what_the_api_server_stores(written: str, stored: str) -> None:
    assert canonical_quantity(written) == stored


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(quantities)
def test_canonical_form_keeps_the_value_and_is_stable(text: str) -> None:
    canonical = canonical_quantity(text)
    assert parse_quantity(canonical) == parse_quantity(text)
    assert canonical_quantity(canonical) == canonical


@pytest.mark.parametrize("text", ["", "1gb", "-1", "1 Gi", "Gi", "1e3", "1.", ".5", "1\n"])
def test_other_text_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("1h30m", 5400), ("500ms", 0.5), ("0s", 0), ("1m1s1ms", 61.001)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "60", "s", "1d", "-1s", "1s 2s", "123456s", "1s1s1s1s1s"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
