from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.fetch import FetchError
from slipway.fetch.checksum import checksum
from slipway.fetch.download import Retry
from slipway.fetch.errors import Transient
from slipway.fetch.main import main
from slipway.fetch.meter import Meter
from slipway.fetch.remote import is_safe
from slipway.fetch.uri import SCHEMES, read_uri

from .conftest import Fetcher
from .server import Bucket, Handler, Hub, Request


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slipway.fetch", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_the_program_fetches_and_ends_with_0(fetcher: Fetcher) -> None:
    Hub(fetcher.web, {"config.json": b"{}", "model.onnx": b"x" * 100})
    done = program("hf://org/model", str(fetcher.directory), HF_ENDPOINT=fetcher.web.url)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1] == f"slipway-fetch: the model is in {fetcher.directory}"
    assert fetcher.files == {"config.json": b"{}", "model.onnx": b"x" * 100}


def test_the_program_fails_with_1_and_one_sentence_at_the_end(fetcher: Fetcher) -> None:
    bucket = Bucket(fetcher.web)
    done = program("s3://models/iris", str(fetcher.directory), **bucket.environment())
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("s3://models/iris cannot be fetched: there is nothing of that name")
    assert "Traceback" not in done.stderr


def test_the_interpreter_does_not_end_with_threads_of_others(fetcher: Fetcher) -> None:
    """Of 60 runs 4 ended with SIGABRT after their last line."""
    bucket = Bucket(fetcher.web)
    text = "import atexit, sys; from slipway.fetch.main import main; atexit.register(print, 'late'); sys.exit(main())"
    command = [sys.executable, "-c", text, "s3://models/iris", str(fetcher.directory)]
    done = subprocess.run(command, env=os.environ | bucket.environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_signal_ends_it_at_once(fetcher: Fetcher) -> None:
    asked, release = threading.Event(), threading.Event()

    def hold(request: Request, handler: Handler) -> bool:
        asked.set()
        return release.wait(60)

    fetcher.web.hook = hold
    command = [sys.executable, "-m", "slipway.fetch", "hf://org/model", str(fetcher.directory)]
    running = subprocess.Popen(
        command, env={**os.environ, "HF_ENDPOINT": fetcher.web.url}, stderr=subprocess.PIPE, text=True
    )
    assert asked.wait(60)
    running.send_signal(signal.SIGTERM)
    said = running.communicate(timeout=60)[1]
    release.set()
    assert (running.returncode, said) == (143, "The fetch was stopped by a signal; what has arrived is resumed.\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "name the URI of a model and the directory"),
        (["s3://b/k"], "name the URI of a model and the directory"),
        (["s3://b/k", "d", "--checksum", "md5:1"], "--checksum is sha256: and 64 lower-case hex digits"),
        (["s3://b/k", "d", "--timeout", "0"], "--timeout is a number of seconds"),
        (["s3://b/k", "d", "--timeout", "nan"], "--timeout is a number of seconds"),
        (["s3://b/k", "d", "--token", "x"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments_end_with_2(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert why in capsys.readouterr().err


def test_a_wrong_size_of_the_cache_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIPWAY_FETCH_CACHE_BYTES", "10Gi")
    with pytest.raises(SystemExit):
        main(["s3://b/k", "d"])
    assert "SLIPWAY_FETCH_CACHE_BYTES is a number of bytes" in capsys.readouterr().err


def test_the_checksum_is_what_coreutils_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "é.txt").write_text("a")
    (tmp_path / "model.onnx").write_bytes(b"x" * 3_000_000)
    assert main(["--print-checksum", str(tmp_path)]) == 0
    lines = r"find . -type f -printf '%P\0' | xargs -0 sha256sum | LC_ALL=C sort | sha256sum"
    theirs = subprocess.run(["sh", "-c", lines], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert capsys.readouterr().out == f"sha256:{theirs.split()[0]}\n"
    alone = subprocess.run(["sha256sum", tmp_path / "model.onnx"], capture_output=True, text=True, check=True).stdout
    assert checksum(tmp_path / "model.onnx") == f"sha256:{alone.split()[0]}"
    assert main(["--print-checksum", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'none'} cannot be read: No such file or directory.\n"


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("ftp://h/x", "ftp://h/x cannot be fetched: the scheme 'ftp' is unknown; did you mean https://?"),
        ("s4://b/k", "the scheme 's4' is unknown; did you mean s3://? known are"),
        ("http://h/x", "http:// would let anyone on the way change the model; use https://"),
        ("pvc://claim/x", "a volume claim is mounted, not fetched"),
        ("model.onnx", "model.onnx cannot be fetched: it has no scheme"),
        ("", "'' cannot be fetched: it has no scheme; use one of s3://"),
        ("s3://", "not a complete URI; write it as s3://BUCKET/KEY"),
        ("azure://account", "not a complete URI; write it as azure://ACCOUNT/CONTAINER/PATH"),
        ("https://user:s3cret@h/x", "https://h/x cannot be fetched: it holds a user name or password"),
        ("https://h/x\n", "not a complete URI"),
        ("ftp://user:s3cret@h/x?sig=s3cret", "ftp"),
        ("oci://h:99999x/m", "oci://h:99999x/m cannot be fetched: 'h:99999x' is no host, or has no port that exists"),
        ("oci://h:99999/m", "write HOST or HOST:PORT, with a port from 1 to 65535, in spec.model.uri"),
        ("https://h:0/m", "'h:0' is no host"),
        ("https://[h/m", "'[h' is no host"),
    ],
)
def test_a_uri_that_is_not_fetched_says_why(uri: str, why: str) -> None:
    with pytest.raises(FetchError) as failed:
        read_uri(uri)
    assert why in failed.value.sentence
    assert "s3cret" not in failed.value.sentence


@pytest.mark.parametrize("uri", ["oci://h/m", "oci://h:5000/m", "https://[::1]:65535/m"])
def test_a_host_may_have_a_port(uri: str) -> None:
    assert read_uri(uri).whole == uri


@given(st.sampled_from(SCHEMES), st.text(max_size=30), st.text(max_size=30))
def test_no_uri_is_shown_with_its_query_or_password(scheme: str, path: str, secret: str) -> None:
    hidden = f"S3CRET{secret}"
    for uri in (f"https://h/{path}?{hidden}", f"{scheme}://u:S3CRET@h/{path}"):
        try:
            shown = read_uri(uri).shown
        except FetchError as error:
            shown = error.sentence
        assert "S3CRET" not in shown


@given(st.text("ab./\\\0", max_size=12))
def test_a_safe_name_stays_below(name: str) -> None:
    if is_safe(name):
        assert Path("/top", name).is_relative_to("/top")
        assert os.path.normpath(f"/top/{name}") == f"/top/{name}"


def test_a_line_each_five_seconds_says_bytes_rate_and_time_left() -> None:
    stream, times, pauses = io.StringIO(), iter([0.0, 0.0, 5.0, 10.0, 15.0]), iter([1_000_000_000, 500_000_000, None])

    async def pause(seconds: float) -> None:
        assert seconds == 5.0
        more = next(pauses)
        if more is None:
            raise asyncio.CancelledError
        meter.add(more)

    meter = Meter(stream, lambda: next(times), pause)
    meter.begin(4_000_000_000)
    meter.add(500_000_000, resumed=True)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(meter.run())
    assert stream.getvalue().splitlines() == [
        "slipway-fetch: 1.5 GB of 4.0 GB, 200.0 MB/s, 12 s left",
        "slipway-fetch: 2.0 GB of 4.0 GB, 100.0 MB/s, 20 s left",
    ]


@given(st.lists(st.booleans(), max_size=30), st.floats(0, 1))
def test_pauses_are_bounded_and_six_failures_without_progress_are_the_end(gains: list[bool], chance: float) -> None:
    pauses: list[float] = []
    got = 0
    left = iter(gains)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def attempt() -> str:
        nonlocal got
        gain = next(left, None)
        if gain is None:
            return "done"
        got += gain
        raise Transient("no")

    call = Retry("x", pause, lambda: chance).call(attempt, lambda: got)
    if _six(gains):
        with pytest.raises(FetchError, match="6 times in a row"):
            asyncio.run(call)
    else:
        assert asyncio.run(call) == "done"
    assert all(0.25 <= pause <= 30.0 for pause in pauses)


def _six(gains: list[bool]) -> bool:
    """Whether six tries in a row fail, of which only the first may have brought something."""
    run = 0
    for gain in gains:
        run = 1 if gain else run + 1
        if run == 6:
            return True
    return False
