from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slipway.fetch.archive import UnsafeArchive, is_archive, unpack

from .conftest import Fetcher

Members = list[tuple[tarfile.TarInfo, bytes]]


def member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    return info, content


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("untouched")
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def unpacked(content: bytes, place: Path) -> dict[str, bytes]:
    archive = place.parent / "archive"
    archive.write_bytes(content)
    unpack(archive, place)
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def test_files_directories_and_links_inside(place: Path) -> None:
    content = tar(
        member("./", kind=tarfile.DIRTYPE),
        member("latest.onnx", kind=tarfile.SYMTYPE, link="v1/model.onnx"),
        member("v1/up.onnx", kind=tarfile.SYMTYPE, link="../v1/model.onnx"),
        member("same.onnx", kind=tarfile.LNKTYPE, link="v1/model.onnx"),
        member("./v1/model.onnx", b"x"),
        member("empty", kind=tarfile.DIRTYPE),
    )
    names = ["latest.onnx", "same.onnx", "v1/model.onnx", "v1/up.onnx"]
    assert unpacked(content, place) == dict.fromkeys(names, b"x")
    assert (place / "empty").is_dir()


def test_gzip_and_zip(place: Path) -> None:
    assert unpacked(gzip.compress(tar(member("a/b", b"x"))), place) == {"a/b": b"x"}
    assert unpacked(zipped(**{"c/d": b"y"}), place) == {"a/b": b"x", "c/d": b"y"}


@pytest.mark.parametrize(
    "members",
    [
        [member("../outside", b"evil")],
        [member("/tmp/slipway-evil", b"evil")],  # noqa: S108  # a name in an archive
        [member("a/../../outside", b"evil")],
        [member("a\\..\\b", b"evil")],
        [member("link", kind=tarfile.SYMTYPE, link="../outside")],
        [member("link", kind=tarfile.SYMTYPE, link="/etc/passwd")],
        [member("link", kind=tarfile.SYMTYPE, link="nowhere")],
        [member("link", kind=tarfile.SYMTYPE, link="link")],
        [member("link", kind=tarfile.LNKTYPE, link="../outside")],
        [member("link", kind=tarfile.LNKTYPE, link="nowhere")],
        [member("d", kind=tarfile.SYMTYPE, link=".."), member("d/outside", b"evil")],
        [member("d", kind=tarfile.SYMTYPE, link=".."), member("d/link", kind=tarfile.SYMTYPE, link="in")],
        [member("d", kind=tarfile.SYMTYPE, link=".."), member("h", kind=tarfile.LNKTYPE, link="d/outside")],
        [
            member("a/b/up", kind=tarfile.SYMTYPE, link="../.."),
            member("l", kind=tarfile.SYMTYPE, link="a/b/up/../outside"),
        ],
        [member("a", kind=tarfile.SYMTYPE, link="a"), member("a/a/a", kind=tarfile.SYMTYPE, link="a")],
        [member("a", kind=tarfile.SYMTYPE, link="a"), member("h", kind=tarfile.LNKTYPE, link="a")],
        [member("twice", b"1"), member("twice", b"2")],
        [member("a", b"1"), member("a/b", b"2")],
        [member("a/b", b"1"), member("a", b"2")],
        [member("device", kind=tarfile.CHRTYPE)],
        [member("pipe", kind=tarfile.FIFOTYPE)],
    ],
)
def test_what_leads_out_or_is_no_file_is_refused(place: Path, members: Members) -> None:
    with pytest.raises(UnsafeArchive):
        unpacked(tar(*members), place)
    assert (place.parent / "outside").read_text() == "untouched"
    assert sorted(path.name for path in place.parent.iterdir()) == ["archive", "in", "outside"]


@pytest.mark.parametrize("content", [b"", b"no archive", tar(member("a", b"x" * 5000))[:2000], b"PK\3\4 no zip"])
def test_damage_is_said(place: Path, content: bytes) -> None:
    if content == b"":
        with pytest.raises(UnsafeArchive, match="damaged"):
            unpacked(content, place)
        return
    with pytest.raises(UnsafeArchive, match="damaged, encrypted, or no archive"):
        unpacked(content, place)


@pytest.mark.parametrize("make", [lambda big: gzip.compress(tar(member("a", big))), lambda big: zipped(a=big)])
def test_a_bomb_is_stopped(place: Path, monkeypatch: pytest.MonkeyPatch, make) -> None:
    content = make(bytes(80_000_000))
    with pytest.raises(UnsafeArchive, match="more than 100 times its size"):
        unpacked(content, place)


def test_a_zip_with_a_link_that_leads_out(place: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "../outside")
    with pytest.raises(UnsafeArchive, match="leads out or nowhere"):
        unpacked(stream.getvalue(), place)


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "", "\\", "\0", "x" * 300, "outside"]), min_size=1, max_size=4)


@settings(max_examples=200, deadline=None)
@example([("a", "s", "\0")])
@given(st.lists(st.tuples(NAMES.map("/".join), st.sampled_from("fsld"), NAMES.map("/".join)), max_size=5))
def test_nothing_is_ever_made_or_reached_outside(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[tuple[str, str, str]]
) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / "outside").write_text("untouched")
    (root / "in").mkdir()
    kinds = {"f": tarfile.REGTYPE, "s": tarfile.SYMTYPE, "l": tarfile.LNKTYPE, "d": tarfile.DIRTYPE}
    members = [member(name, b"x" if kind == "f" else b"", kinds[kind], link) for name, kind, link in wanted]
    try:
        unpacked(tar(*members), root / "in")
    except UnsafeArchive:
        pass
    else:
        inside = (root / "in").resolve()
        assert all(path.resolve(strict=True).is_relative_to(inside) for path in (root / "in").rglob("*"))
    assert (root / "outside").read_text() == "untouched"
    assert sorted(os.listdir(root)) == ["archive", "in", "outside"]  # noqa: PTH208  # names


def test_an_archive_at_a_web_server_is_unpacked_after_its_checksum(fetcher: Fetcher) -> None:
    content = gzip.compress(tar(member("m/model.onnx", b"x"), member("m/sub/a", b"y")))
    fetcher.web.put("/model.tar.gz", content)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    fetcher.run("https://models.example/model.tar.gz", checksum=digest)
    assert fetcher.files == {"m/model.onnx": b"x", "m/sub/a": b"y"}


def test_an_archive_that_is_none_leaves_nothing(fetcher: Fetcher) -> None:
    fetcher.web.put("/model.zip", b"<html>please log in</html>")
    sentence = fetcher.fails("https://models.example/model.zip")
    assert "the archive is not unpacked, for it is damaged, encrypted, or no archive; pack the model again" in sentence
    assert fetcher.files == {}


def test_which_names_are_archives() -> None:
    assert all(map(is_archive, ["a.tar", "a.tar.gz", "A.TGZ", "a.zip"]))
    assert not any(map(is_archive, ["a.gz", "a.onnx", "tar"]))
