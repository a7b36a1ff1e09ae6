from __future__ import annotations

import pytest

from slipway.fetch.checksum import checksum

from .conftest import Fetcher
from .server import Bucket

DATA = bytes(range(256)) * 20_000


@pytest.fixture
def bucket(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = Bucket(fetcher.web)
    fetcher.environment = made.environment()
    for name, value in fetcher.environment.items():  # the Rust crate reads the process's own
        monkeypatch.setenv(name, value)
    return made


def test_a_prefix_is_a_directory(fetcher: Fetcher, bucket: Bucket) -> None:
    bucket.put("iris/model.onnx", DATA)
    bucket.put("iris/sub/a b+é%20.json", b"{}", etag='"2"')
    bucket.put("iris/", b"")
    bucket.put("iris/sub/", b"")
    bucket.put("iris-2/model.onnx", b"another")
    for uri in ("s3://models/iris", "s3://models/iris/"):
        fetcher.run(uri)
        assert fetcher.files == {"model.onnx": DATA, "sub/a b+é%20.json": b"{}"}


def test_an_object_is_a_file(fetcher: Fetcher, bucket: Bucket) -> None:
    bucket.put("iris/model.onnx", DATA)
    fetcher.run("s3://models/iris/model.onnx")
    assert fetcher.files == {"model.onnx": DATA}


def test_the_checksum_of_a_directory(fetcher: Fetcher, bucket: Bucket) -> None:
    bucket.put("iris/model.onnx", DATA)
    bucket.put("iris/sub/labels.txt", b"a\nb\n")
    fetcher.run("s3://models/iris")
    fetcher.run("s3://models/iris", checksum=checksum(fetcher.directory))
    bucket.put("iris/sub/labels.txt", b"a\nc\n", etag='"2"')
    assert "its checksum is sha256:" in fetcher.fails("s3://models/iris", checksum=checksum(fetcher.directory))


def test_a_broken_connection_is_resumed_with_if_match(fetcher: Fetcher, bucket: Bucket) -> None:
    bucket.put("iris/model.onnx", DATA, break_at=[3_000_000])
    fetcher.run("s3://models/iris")
    assert fetcher.files == {"model.onnx": DATA}
    last = fetcher.web.requests[-1].headers
    assert (last["range"].startswith("bytes="), last["if-match"]) == (True, '"1"')
    assert last["range"] != "bytes=0-"


def test_an_object_that_changes_starts_over(fetcher: Fetcher, bucket: Bucket) -> None:
    bucket.put("iris/model.onnx", DATA, break_at=[3_000_000])

    async def change(seconds: float) -> None:
        if seconds < 5:
            bucket.put("iris/model.onnx", DATA[::-1], etag='"2"')
        await fetcher.pause(seconds)

    fetcher.run("s3://models/iris", tools=fetcher.tools(pause=change))
    assert fetcher.files == {"model.onnx": DATA[::-1]}
    assert "the model changed at its source while it was fetched: starting over" in fetcher.said


def test_a_busy_store_is_asked_again(fetcher: Fetcher, bucket: Bucket) -> None:
    bucket.put("iris/model.onnx", b"x")
    fetcher.web.statuses = [(503, {}), (429, {}), (500, {})]
    fetcher.run("s3://models/iris")
    assert [pause for pause in fetcher.pauses if pause != 5.0] == [0.5, 1.0, 2.0]


def test_a_missing_object_and_a_missing_bucket_are_two_things(fetcher: Fetcher, bucket: Bucket) -> None:
    bucket.put("iris/model.onnx", b"x")
    assert fetcher.fails("s3://models/iri") == (
        "s3://models/iri cannot be fetched: there is nothing of that name in the bucket 'models'; "
        "check the path, and AWS_REGION, and AWS_ENDPOINT_URL for a store that is not Amazon's."
    )
    assert "there is no bucket 'model'" in fetcher.fails("s3://model/iris")


def test_wrong_credentials_are_neither_tried_again_nor_shown(fetcher: Fetcher, bucket: Bucket) -> None:
    bucket.allowed = False
    sentence = fetcher.fails("s3://models/iris")
    assert "the store refuses the credentials, or they may not read it (status 403" in sentence
    assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the Secret of spec.model.secretRef" in sentence
    assert len(fetcher.web.requests) == 1
    assert "secret " not in sentence.replace("Secret ", "")


def test_a_name_that_leads_out_is_refused(fetcher: Fetcher, bucket: Bucket) -> None:
    bucket.put("iris/..\\evil", b"x")
    assert "cannot be the name of a file" in fetcher.fails("s3://models/iris")
    assert not any("evil" in name for name in fetcher.files)


def test_a_file_and_a_directory_of_one_name_are_refused(fetcher: Fetcher, bucket: Bucket) -> None:
    bucket.put("iris/a", b"x")
    bucket.put("iris/a/b", b"x")
    assert "a directory of 'a/b' has the name of a file" in fetcher.fails("s3://models/iris")
