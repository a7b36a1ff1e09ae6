from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.fetch import Job, fetch
from slipway.fetch.eviction import Entry, evict

from .conftest import Fetcher
from .server import Handler, Hub, Request

DATA = bytes(range(256)) * 20_000
URI = "https://models.example/m/model.onnx"
ENTRIES = st.lists(
    st.builds(Entry, st.text("abc", max_size=8), st.integers(0, 100), st.floats(0, 10)),
    max_size=12,
    unique_by=lambda e: e.key,
)


@given(ENTRIES, st.integers(0, 400), st.integers(0, 400), st.sets(st.text("abc", max_size=8)))
def test_eviction_makes_room_with_the_least_and_the_oldest(
    entries: list[Entry], room: int, needed: int, kept: set[str]
) -> None:
    going = evict(entries, room, needed, kept)
    by_key = {entry.key: entry for entry in entries}
    stay = [entry for entry in entries if entry.key not in going]
    left = sum(entry.size for entry in stay) + needed
    assert len(set(going)) == len(going)
    assert set(going) <= set(by_key) - kept
    assert left <= room or all(entry.key in kept for entry in stay)
    oldest = min((entry.used for entry in stay if entry.key not in kept), default=float("inf"))
    assert all(by_key[key].used <= oldest for key in going)
    assert not going or left + by_key[going[-1]].size > room


@given(ENTRIES, st.integers(0, 400), st.integers(0, 400))
def test_eviction_does_not_depend_on_the_order_of_the_disk(entries: list[Entry], room: int, needed: int) -> None:
    assert evict(entries, room, needed) == evict(entries[::-1], room, needed)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def models(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.is_dir())


def again(fetcher: Fetcher, cache: Path, uri: str = URI, **options: Any) -> None:
    """Fetches into another directory, as the next pod does."""
    fetcher.directory = fetcher.directory.parent / f"{fetcher.directory.name}+"
    fetcher.run(uri, cache=cache, **options)


def test_the_second_pod_asks_only_what_the_model_is(fetcher: Fetcher, cache: Path) -> None:
    fetcher.web.put("/m/model.onnx", DATA)
    fetcher.run(URI, cache=cache)
    again(fetcher, cache)
    assert fetcher.files == {"model.onnx": DATA}
    assert fetcher.web.ranges("/m/model.onnx") == [""]
    assert len(models(cache)) == 1


def test_a_new_version_is_another_model(fetcher: Fetcher, cache: Path) -> None:
    fetcher.web.put("/m/model.onnx", DATA)
    fetcher.run(URI, cache=cache)
    fetcher.web.put("/m/model.onnx", b"new", etag='"2"')
    again(fetcher, cache)
    assert fetcher.files == {"model.onnx": b"new"}
    assert len(models(cache)) == 2


def test_who_may_not_read_the_source_gets_nothing_from_the_cache(fetcher: Fetcher, cache: Path) -> None:
    Hub(fetcher.web, {"config.json": b"{}"}, token="t0ken")
    fetcher.environment = {"HF_TOKEN": "t0ken"}
    fetcher.run("hf://org/model", cache=cache)
    fetcher.environment = {}
    with pytest.raises(Exception, match="no access"):
        again(fetcher, cache, "hf://org/model")


def test_a_cached_file_that_became_shorter_is_fetched_again(fetcher: Fetcher, cache: Path) -> None:
    fetcher.web.put("/m/model.onnx", DATA)
    fetcher.run(URI, cache=cache)
    kept = models(cache)[0] / "files" / "model.onnx"
    kept.unlink()
    kept.write_bytes(DATA[:100])
    again(fetcher, cache)
    assert fetcher.files == {"model.onnx": DATA}


@pytest.mark.parametrize("text", ["", "[]", '{"files": {"../../x": 1}}', '{"files": {"model.onnx": null}}'])
def test_a_damaged_list_of_files_is_not_believed(fetcher: Fetcher, cache: Path, text: str) -> None:
    fetcher.web.put("/m/model.onnx", DATA)
    fetcher.run(URI, cache=cache)
    (models(cache)[0] / "entry.json").write_text(text)
    again(fetcher, cache)
    assert fetcher.files == {"model.onnx": DATA}
    assert json.loads((models(cache)[0] / "entry.json").read_text()) == {"files": {"model.onnx": len(DATA)}}


def test_the_least_recently_used_goes_when_the_cache_is_full(fetcher: Fetcher, cache: Path) -> None:
    for number, name in enumerate(["one", "two", "three"]):
        fetcher.web.put(f"/{name}", bytes(1000 + number))
    limit = 2500
    for number, name in enumerate(["one", "two", "one", "three"]):
        again(fetcher, cache, f"https://models.example/{name}", cache_bytes=limit)
        for path in models(cache):
            used = path / "entry.json"
            if used.stat().st_mtime > 1000:
                os.utime(used, (number, number))
            os.utime(path, (0, 0))
    sizes = sorted((path / "files").iterdir().__next__().stat().st_size for path in models(cache))
    assert sizes == [1000, 1002]
    assert any(line.startswith("evicted ") for line in fetcher.said)
    assert len(list(cache.glob("*.lock"))) == 2


def test_a_model_in_use_stays(fetcher: Fetcher, cache: Path) -> None:
    fetcher.web.put("/one", bytes(1000))
    fetcher.web.put("/two", bytes(1000))
    again(fetcher, cache, "https://models.example/one", cache_bytes=1500)
    with next(iter(cache.glob("*.lock"))).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        again(fetcher, cache, "https://models.example/two", cache_bytes=1500)
        assert len(models(cache)) == 2


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"cache_bytes": 100}, "5.1 MB are more than the cache may hold: fetching without it"),
        ({"etag": None}, "its server tells no ETag, so that a change would go unseen: fetching without the cache"),
    ],
)
def test_what_cannot_be_cached_is_fetched_without(
    fetcher: Fetcher, cache: Path, options: dict[str, Any], note: str
) -> None:
    fetcher.web.put("/m/model.onnx", DATA, **{name: value for name, value in options.items() if name == "etag"})
    fetcher.run(URI, cache=cache, cache_bytes=options.get("cache_bytes"))
    assert fetcher.files == {"model.onnx": DATA}
    assert note in fetcher.said
    assert models(cache) == []


def test_a_cache_that_cannot_be_written_costs_time_not_the_model(fetcher: Fetcher, tmp_path: Path) -> None:
    fetcher.web.put("/m/model.onnx", DATA)
    (tmp_path / "file").write_text("")
    fetcher.run(URI, cache=tmp_path / "file" / "cache")
    assert fetcher.files == {"model.onnx": DATA}
    assert any("cannot be written (Not a directory): fetching without it" in line for line in fetcher.said)


def test_pods_that_start_at_once_fetch_once_and_say_that_they_wait(
    fetcher: Fetcher, cache: Path, tmp_path: Path
) -> None:
    fetcher.web.put("/m/model.onnx", DATA)
    waiting = threading.Event()

    def hold(request: Request, handler: Handler) -> bool:
        if "range" not in request.headers:
            assert waiting.wait(60)
        return False

    fetcher.web.hook = hold

    async def pause(seconds: float) -> None:
        if "another pod of this node fetches the same model: waiting for it" in fetcher.said:
            waiting.set()
        await (asyncio.Event().wait() if seconds == 5.0 else asyncio.sleep(0.001))

    async def all_at_once() -> None:
        jobs = [Job(URI, tmp_path / str(number), cache=cache) for number in range(5)]
        await asyncio.gather(*(fetch(job, fetcher.tools(pause=pause)) for job in jobs))

    asyncio.run(all_at_once())
    assert [(tmp_path / str(number) / "model.onnx").read_bytes() == DATA for number in range(5)] == [True] * 5
    assert fetcher.web.ranges("/m/model.onnx") == [""]


def program(fetcher: Fetcher, directory: Path, cache: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "slipway.fetch", "hf://org/model", str(directory), "--cache", str(cache)]
    known = {**os.environ, "HF_ENDPOINT": fetcher.web.url, **environment}
    return subprocess.Popen(command, env=known, stderr=subprocess.PIPE, text=True)


def test_a_process_killed_in_the_middle_is_continued_by_the_next(fetcher: Fetcher, cache: Path, tmp_path: Path) -> None:
    Hub(fetcher.web, {"model.onnx": DATA})
    arrived, inner = threading.Event(), fetcher.web.hook
    assert inner

    def stall(request: Request, handler: Handler) -> bool:
        if request.path != "/cdn/model.onnx" or arrived.is_set():
            return inner(request, handler)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        handler.wfile.write(DATA[:3_000_000])
        handler.wfile.flush()
        arrived.set()
        handler.rfile.read()  # until the client is gone
        return True

    fetcher.web.hook = stall
    first = program(fetcher, tmp_path / "1", cache)
    assert arrived.wait(60)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size >= 2_000_000 for path in cache.glob("*/parts/*")):
        assert time.monotonic() < deadline
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second, third = (program(fetcher, tmp_path / name, cache) for name in ("2", "3"))
    assert ("in " + str(tmp_path / "2")) in second.communicate(timeout=60)[1]
    assert third.communicate(timeout=60)[1]
    assert (second.returncode, third.returncode) == (0, 0)
    assert (tmp_path / "2" / "model.onnx").read_bytes() == (tmp_path / "3" / "model.onnx").read_bytes() == DATA
    begun, resumed = fetcher.web.ranges("/cdn/model.onnx")
    assert begun == ""
    assert int(resumed[6:-1]) >= 2_000_000
