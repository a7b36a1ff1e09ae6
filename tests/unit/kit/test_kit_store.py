from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from slipway.kit.consistency import newer, track, wrote
from slipway.kit.objects import DEPLOYMENT, POD, Key
from slipway.kit.store import Store, keep


def pod(name: str, version: int, *, uid: str = "", namespace: str = "a", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata | fields.pop("metadata", {}), **fields}


def test_lists_by_namespace_owner_and_index():
    store = Store(POD)
    store.index("node", lambda manifest: [manifest["spec"]["nodeName"]])
    owned = {"ownerReferences": [{"uid": "rs-1", "kind": "ReplicaSet", "name": "rs"}]}
    store.put(pod("one", 1, spec={"nodeName": "n1"}, metadata=owned))
    store.put(pod("two", 2, spec={"nodeName": "n1"}, namespace="b"))
    assert [item["metadata"]["name"] for item in store.list()] == ["one", "two"]
    assert [item["metadata"]["name"] for item in store.list("b")] == ["two"]
    assert [item["metadata"]["name"] for item in store.by_owner("rs-1")] == ["one"]
    assert len(store.by_index("node", "n1")) == 2
    store.put(pod("one", 3, spec={"nodeName": "n2"}))
    assert store.by_owner("rs-1") == []
    assert [item["metadata"]["name"] for item in store.by_index("node", "n1")] == ["two"]
    store.remove(pod("two", 4, namespace="b"))
    assert store.by_index("node", "n1") == []
    assert store.get(Key("b", "two")) is None


def test_an_index_added_late_has_what_was_there_before():
    store = Store(POD)
    store.put(pod("one", 1))
    store.index("name", lambda manifest: [manifest["metadata"]["name"]])
    assert len(store.by_index("name", "one")) == 1
    with pytest.raises(ValueError, match="has an index 'name' already"):
        store.index("name", lambda _: [])


def test_an_event_delivered_twice_or_late_changes_nothing():
    store, told = Store(POD), []
    store.subscribe(lambda old, new: told.append((old, new)))
    store.put(pod("one", 5, spec={"a": 1}))
    store.put(pod("one", 5, spec={"a": 1}))
    store.put(pod("one", 4, spec={"a": 0}))
    assert len(told) == 1
    assert store.list()[0]["spec"] == {"a": 1}


def test_an_object_made_again_under_the_same_name_is_a_change():
    store, told = Store(POD), []
    store.put(pod("one", 5, uid="first"))
    store.subscribe(lambda old, new: told.append((old["metadata"]["uid"], new["metadata"]["uid"])))
    store.replace([pod("one", 3, uid="second")], "3")
    assert told == [("first", "second")]


def test_replace_tells_of_what_is_gone():
    store, told = Store(POD), []
    store.put(pod("stays", 1))
    store.put(pod("goes", 2))
    store.subscribe(lambda old, new: told.append((old and old["metadata"]["name"], new and new["metadata"]["name"])))
    store.replace([pod("stays", 1), pod("comes", 3)], "3")
    assert told == [("goes", None), (None, "comes")]
    assert store.synced.is_set()


def test_a_handler_that_fails_harms_nobody_else(caplog: pytest.LogCaptureFixture):
    store, told = Store(POD), []

    def fails(_old: object, _new: object) -> None:
        raise KeyError("spec")

    store.subscribe(fails)
    store.subscribe(lambda _, new: told.append(new))
    with caplog.at_level(logging.ERROR):
        store.put(pod("one", 1))
    assert len(told) == 1
    assert "handler of pods failed on a/one" in caplog.text


def test_a_list_counts_even_where_it_is_older():
    """An API server restored from a backup has the same objects in older versions."""
    store, told = Store(POD), []
    store.put(pod("one", 90, spec={"a": 2}))
    store.subscribe(lambda old, new: told.append((old["spec"], new["spec"])))
    store.replace([pod("one", 50, spec={"a": 1})], "60")
    assert told == [({"a": 2}, {"a": 1})]
    store.replace([pod("one", 50, spec={"a": 1})], "61")
    assert len(told) == 1


def test_an_object_that_an_index_cannot_read_is_in_the_store_all_the_same(caplog: pytest.LogCaptureFixture):
    store, told = Store(POD), []
    store.index("node", lambda manifest: [manifest["spec"]["nodeName"]])
    store.subscribe(lambda _, new: told.append(new))
    store.put(pod("odd", 1))
    store.put(pod("fine", 2, spec={"nodeName": "n"}))
    store.index("late", lambda manifest: [manifest["spec"]["nodeName"]])
    store.remove(pod("odd", 3))
    assert [item["metadata"]["name"] for item in store.list()] == ["fine"]
    assert len(store.by_index("node", "n")) == len(store.by_index("late", "n")) == 1
    assert len(told) == 3
    assert "The index node of pods cannot read a/odd" in caplog.text


def test_projections():
    full = pod("one", 1, spec={"nodeName": "n", "containers": []}, status={"phase": "Running", "podIP": "1.2.3.4"})
    full["metadata"] |= {"managedFields": [{"manager": "x"}], "annotations": {"a": "b"}}
    store = Store(POD, projection=keep("spec.nodeName", "status.phase", "spec.absent", "status.phase.deeper"))
    store.put(full)
    kept = store.list()[0]
    assert kept["spec"] == {"nodeName": "n"}
    assert kept["status"] == {"phase": "Running"}
    assert set(kept["metadata"]) == {"name", "namespace", "uid", "resourceVersion"}
    whole = Store(POD)
    whole.put(full)
    assert "managedFields" not in whole.list()[0]["metadata"]
    assert whole.list()[0]["metadata"]["annotations"] == {"a": "b"}


def test_what_many_objects_say_is_in_memory_once():
    store = Store(POD, projection=keep("spec.nodeName", "status"))
    for number in range(2):
        text = f'{{"nodeName": "node-7", "status": [{{"type": "Ready", "note": "{"x" * 99}"}}], "label": "team-a"}}'
        told = json.loads(text)  # as it comes: each string is a new one
        labels = {"labels": {"team": told["label"]}}
        store.put(
            pod(f"p{number}", number, spec={"nodeName": told["nodeName"]}, status=told["status"], metadata=labels)
        )
    one, other = store.list()
    assert one["spec"]["nodeName"] is other["spec"]["nodeName"]
    assert one["metadata"]["labels"]["team"] is other["metadata"]["labels"]["team"]
    assert one["status"][0]["type"] is other["status"][0]["type"]
    assert one["status"] == other["status"]


def test_a_missing_kind_empties_the_store():
    store = Store(POD, optional=True)
    store.put(pod("one", 1))
    store.missing()
    assert store.list() == []
    assert not store.available
    assert store.synced.is_set()
    assert not store.behind("99")
    store.replace([], "7")
    assert store.available
    required = Store(POD)
    required.missing()
    assert not required.synced.is_set()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("2", "1", True), ("10", "9", True), ("9", "10", False), ("1", "1", False), ("1", "", True), ("x", "1", False)],
)
def test_resource_versions_are_numbers(one: str, other: str, *, expected: bool):
    assert newer(one, other) is expected


def test_a_store_is_behind_until_it_has_seen_the_version():
    store = Store(POD)
    store.replace([], "5")
    assert store.behind("6")
    store.reached("6")
    assert not store.behind("6")
    assert not store.behind("")


def test_only_the_newest_write_of_a_kind_is_remembered():
    wrote(POD, pod("outside", 1))
    with track() as writes:
        wrote(POD, pod("one", 7))
        wrote(POD, pod("two", 6))
        wrote(DEPLOYMENT, pod("three", 3))
    wrote(POD, pod("outside", 9))
    assert writes == {POD: "7", DEPLOYMENT: "3"}
