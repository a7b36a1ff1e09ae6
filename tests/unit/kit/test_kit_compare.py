from __future__ import annotations

from typing import Any

import pytest

from slipway.kit.compare import covers, fingerprint, without_nulls


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        ({"a": 1, "added": 2}, {"a": 1}),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}),
        ({}, {"labels": {}, "args": [], "n": 0, "s": ""}),
        (
            {"containers": [{"name": "sidecar"}, {"name": "m", "image": "x", "added": 1}]},
            {"containers": [{"name": "m"}]},
        ),
        ({"ports": [{"port": 80, "protocol": "TCP", "nodePort": 31000}]}, {"ports": [{"port": 80}]}),
        ({"rules": [{"match": 1, "default": 2}]}, {"rules": [{"match": 1}]}),
        ({"requests": {"cpu": "500m", "memory": "1Gi"}}, {"requests": {"cpu": "0.5", "memory": "1024Mi"}}),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": 1}}),
        ({"emptyDir": {"sizeLimit": "1Gi"}}, {"emptyDir": {"sizeLimit": "1024Mi"}}),
    ],
)
def test_equal_in_what_we_set(live: Any, desired: Any):
    assert covers(live, desired)


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        ({"a": 1}, {"a": 2}),
        ({}, {"automountServiceAccountToken": False}),  # absent means true
        ({}, {"a": 1}),
        ({"a": "x"}, {"a": {}}),
        ({"args": ["a", "b"]}, {"args": ["a"]}),
        ({"args": ["b", "a"]}, {"args": ["a", "b"]}),
        ({"containers": [{"name": "m", "image": "y"}]}, {"containers": [{"name": "m", "image": "x"}]}),
        ({"containers": [{"name": "other"}]}, {"containers": [{"name": "m"}]}),
        ({"rules": [{"a": 1}, {"a": 2}]}, {"rules": [{"a": 1}]}),
        ({"parentRefs": [{"name": "g"}, {"name": "added"}]}, {"parentRefs": [{"name": "g"}]}),
        ({"requests": {"cpu": "500m"}}, {"requests": {"cpu": "600m"}}),
        ({"value": "1"}, {"value": "1000m"}),
        ({"limits": {"cpu": "odd"}}, {"limits": {"cpu": "1"}}),
    ],
)
def test_different_in_what_we_set(live: Any, desired: Any):
    assert not covers(live, desired)


def test_a_fingerprint_is_of_the_content():
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})


def test_nulls_are_left_out_everywhere():
    assert without_nulls({"a": None, "b": [{"c": None, "d": 0}], "e": {}}) == {"b": [{"d": 0}], "e": {}}
