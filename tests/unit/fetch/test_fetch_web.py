from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from slipway.fetch.meter import human

from .conftest import Fetcher
from .server import Handler, Request, Thing, Web

URI = "https://models.example/m/model.onnx"
DATA = bytes(range(256)) * 20_000  # 5 MB: several blocks


def put(web: Web, content: bytes = DATA, **options: Any) -> Thing:
    return web.put("/m/model.onnx", content, **options)


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_file_arrives_whole_and_readable_for_everybody_and_nothing_else_stays(fetcher: Fetcher) -> None:
    put(fetcher.web)
    fetcher.run(URI, checksum=digest(DATA))
    assert fetcher.files == {"model.onnx": DATA}
    assert (fetcher.directory / "model.onnx").stat().st_mode & 0o777 == 0o444
    assert [path.name for path in fetcher.directory.iterdir()] == ["model.onnx"]
    assert fetcher.said == [
        f"{human(len(DATA))} of {human(len(DATA))} fetched",
        f"the model is in {fetcher.directory}",
    ]


def test_an_empty_file_is_a_file(fetcher: Fetcher) -> None:
    put(fetcher.web, b"")
    fetcher.run(URI, checksum=digest(b""))
    assert fetcher.files == {"model.onnx": b""}


def test_a_broken_connection_is_resumed_where_it_broke(fetcher: Fetcher) -> None:
    put(fetcher.web, break_at=[1_500_000, 1_000_000])
    fetcher.run(URI, checksum=digest(DATA))
    assert fetcher.files == {"model.onnx": DATA}
    first, second, third = fetcher.web.ranges("/m/model.onnx")
    assert (first, len(fetcher.pauses) - fetcher.pauses.count(5.0)) == ("", 2)
    assert 0 < int(second[6:-1]) < int(third[6:-1]) <= 2_500_000
    assert fetcher.web.requests[-1].headers["if-range"] == '"1"'


def test_pauses_double_and_start_again_after_progress(fetcher: Fetcher) -> None:
    fetcher.web.statuses = [(503, {}), (500, {}), (502, {})]
    put(fetcher.web, break_at=[2_000_000])
    fetcher.run(URI)
    assert [pause for pause in fetcher.pauses if pause != 5.0] == [0.5, 1.0, 2.0, 0.5]


def test_a_server_says_how_long_to_wait(fetcher: Fetcher) -> None:
    fetcher.web.statuses = [
        (429, {"Retry-After": "7"}),
        (503, {"Retry-After": "1000000"}),
        (429, {"Retry-After": "-1"}),
    ]
    put(fetcher.web)
    fetcher.run(URI)
    assert [pause for pause in fetcher.pauses if pause != 5.0] == [7.0, 60.0, 2.0]


def test_a_server_that_stays_down_is_given_up_with_its_reason(fetcher: Fetcher) -> None:
    fetcher.web.statuses = [(503, {})] * 6
    assert fetcher.fails(URI) == (
        f"{URI} cannot be fetched: the server answers 503 Service Unavailable, 6 times in a row; "
        "check that its server can be reached from this node."
    )
    assert len(fetcher.web.requests) == 6


def test_nobody_there(fetcher: Fetcher) -> None:
    assert "no connection (" in fetcher.fails(URI, tools=fetcher.tools(transport=Web("http://127.0.0.1:1").transport))


def test_a_file_that_changes_meanwhile_starts_over(fetcher: Fetcher) -> None:
    old, new = DATA, DATA[::-1]
    thing = put(fetcher.web, old, break_at=[1_500_000])

    def after_break(request: Request, handler: object) -> bool:
        if not thing.break_at and request.headers.get("range") != "bytes=0-0" and thing.content is old:
            thing.content, thing.etag = new, '"2"'
        return False

    fetcher.web.hook = after_break
    fetcher.run(URI, checksum=digest(new))
    assert fetcher.files == {"model.onnx": new}
    assert "the model changed at its source while it was fetched: starting over" in fetcher.said


def test_a_file_that_never_stops_changing_is_given_up(fetcher: Fetcher) -> None:
    thing = put(fetcher.web)

    def count(request: Request, handler: object) -> bool:
        thing.etag = f'"{len(fetcher.web.requests)}"'
        return False

    fetcher.web.hook = count
    assert "it changed 3 times while it was fetched" in fetcher.fails(URI)
    assert fetcher.files.keys() <= {name for name in fetcher.files if name.startswith(".slipway-fetch")}


def test_a_server_without_ranges_sends_all_again(fetcher: Fetcher) -> None:
    put(fetcher.web, ranges=False, break_at=[1_500_000])
    fetcher.run(URI, checksum=digest(DATA))
    assert fetcher.files == {"model.onnx": DATA}


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_without_a_strong_etag_nothing_is_resumed(fetcher: Fetcher, etag: str | None) -> None:
    put(fetcher.web, etag=etag, break_at=[1_500_000])
    fetcher.run(URI)
    assert fetcher.files == {"model.onnx": DATA}
    assert fetcher.web.ranges("/m/model.onnx") == ["", ""]


def test_a_body_shorter_than_promised_is_not_taken_for_the_file(fetcher: Fetcher) -> None:
    put(fetcher.web, b"short", say_size=100)
    assert "its server tells sizes that are not true" in fetcher.fails(URI)
    assert "model.onnx" not in fetcher.files


def test_a_body_longer_than_promised_is_refused(fetcher: Fetcher) -> None:
    thing = put(fetcher.web, b"long" * 100)

    def lie(request: Request, handler: Handler) -> bool:
        if request.headers.get("range"):
            thing.say_size = 100
            return False
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"190\r\n" + thing.content + b"\r\n0\r\n\r\n")
        return True

    fetcher.web.hook = lie
    assert "sizes that are not true" in fetcher.fails(URI)


def test_another_checksum_is_refused_and_leaves_nothing(fetcher: Fetcher) -> None:
    put(fetcher.web)
    assert fetcher.fails(URI, checksum=f"sha256:{'0' * 64}") == (
        f"{URI} cannot be fetched: its checksum is {digest(DATA)}, not sha256:{'0' * 64}; "
        "correct spec.model.checksum, or find out who changed the model."
    )
    assert fetcher.files == {}


def test_what_an_earlier_fetch_left_is_resumed_by_the_next_process(fetcher: Fetcher) -> None:
    put(fetcher.web, break_at=[2_000_000, 0, 0, 0, 0, 0, 0])
    fetcher.fails(URI, checksum=digest(DATA))
    assert list(fetcher.files) == [name for name in fetcher.files if name.startswith(".slipway-fetch/")]
    fetcher.web.things["/m/model.onnx"].break_at = []
    fetcher.run(URI, checksum=digest(DATA))
    assert fetcher.files == {"model.onnx": DATA}
    assert int(fetcher.web.ranges("/m/model.onnx")[-1][6:-1]) > 0


def test_what_an_earlier_version_left_is_removed(fetcher: Fetcher) -> None:
    put(fetcher.web, break_at=[2_000_000, 0, 0, 0, 0, 0, 0])
    fetcher.fails(URI)
    put(fetcher.web, b"another", etag='"2"')
    fetcher.run(URI)
    assert fetcher.files == {"model.onnx": b"another"}


def test_no_space_is_refused_before_anything_is_fetched(fetcher: Fetcher) -> None:
    put(fetcher.web)
    sentence = fetcher.fails(URI, tools=fetcher.tools(free=lambda _: 1_000_000))
    assert "it needs 5.1 MB and the disk has 1.0 MB left; give the volume more space" in sentence
    assert fetcher.web.ranges("/m/model.onnx") == []


def test_a_directory_that_cannot_be_made_is_named(fetcher: Fetcher, tmp_path: Path) -> None:
    put(fetcher.web)
    (tmp_path / "file").write_text("")
    fetcher.directory = tmp_path / "file" / "model"
    sentence = fetcher.fails(URI)
    assert f"{tmp_path / 'file' / 'model'}" in sentence
    assert "cannot be written (Not a directory); make the directory writable for user" in sentence


def test_the_time_is_over(fetcher: Fetcher) -> None:
    put(fetcher.web, break_at=[1_500_000])
    fetcher.web.things["/m/model.onnx"].break_at += [0] * 100

    async def forever(seconds: float) -> None:
        await asyncio.Event().wait()

    sentence = fetcher.fails(URI, tools=fetcher.tools(pause=forever), timeout=0.5)
    assert "cannot be fetched: the time of 0 s is over, with 1." in sentence
    assert "(spec.model.fetchTimeout)" in sentence


@pytest.mark.parametrize(
    ("status", "why"), [(401, "refuses the credentials"), (403, "presigned"), (404, "no such file")]
)
def test_a_refusal_says_what_to_do_without_the_signature(fetcher: Fetcher, status: int, why: str) -> None:
    fetcher.web.statuses = [(status, {})]
    sentence = fetcher.fails(f"{URI}?X-Amz-Signature=s3cret#s3cret")
    assert why in sentence
    assert "s3cret" not in sentence + fetcher.stream.getvalue()


def test_credentials_go_to_the_uris_host_only(fetcher: Fetcher) -> None:
    fetcher.environment = {"HTTPS_AUTHORIZATION": "Bearer t0ken"}
    put(fetcher.web, b"x")
    fetcher.web.things["/m/model.onnx"].content = b"model"

    def redirect(request: Request, handler: Handler) -> bool:
        if request.path == "/m/model.onnx" and request.headers["host"] == "models.example":
            assert request.headers["authorization"] == "Bearer t0ken"
            handler.answer(302, b"", {"Location": "https://cdn.example/m/model.onnx"})
            return True
        assert "authorization" not in request.headers
        return False

    fetcher.web.hook = redirect
    fetcher.run(URI)
    assert fetcher.files == {"model.onnx": b"model"}


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("https://h:port/x", "is not one of HTTP"),
        ("http://models.example/x", "without TLS"),
        ("file:///etc/passwd", "without TLS"),
        (URI, "redirects in circles"),
    ],
)
def test_redirects_that_are_not_followed(fetcher: Fetcher, place: str, why: str) -> None:
    fetcher.web.statuses = [(302, {"Location": place})] * 20
    assert why in fetcher.fails(URI)
