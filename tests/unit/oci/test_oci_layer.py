from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.oci import Entry, Layer, OciError

PART = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda part: part not in {".", ".."}
)
CONTENTS = st.dictionaries(PART, st.binary(max_size=2000), max_size=8)


def entries(contents: dict[str, bytes]) -> list[Entry]:
    return [Entry.file(name, content) for name, content in contents.items()]


def stored(layer: Layer) -> bytes:
    return b"".join(layer.read())


@given(CONTENTS)
def test_a_layer_survives_the_round_trip_through_tar(contents: dict[str, bytes]) -> None:
    with tarfile.open(fileobj=io.BytesIO(stored(Layer.of(entries(contents))))) as archive:
        found = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]  # all are files
    assert found == contents


@given(CONTENTS, st.randoms())
def test_the_order_of_the_entries_does_not_matter(contents: dict[str, bytes], random: object) -> None:
    shuffled = entries(contents)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' random
    assert Layer.of(shuffled).digest == Layer.of(entries(contents)).digest


@given(CONTENTS, st.booleans())
def test_digest_and_size_are_those_of_the_stream_each_time_it_is_read(
    contents: dict[str, bytes], compress: bool
) -> None:
    layer = Layer.of(entries(contents), compress=compress)
    first, second = stored(layer), stored(layer)
    assert first == second
    assert len(first) == layer.size
    assert f"sha256:{hashlib.sha256(first).hexdigest()}" == layer.digest
    bare = gzip.decompress(first) if compress else first
    assert f"sha256:{hashlib.sha256(bare).hexdigest()}" == layer.diff_id


def test_a_directory_gives_the_same_layer_whatever_its_times_and_permissions(tmp_path: Path) -> None:
    digests = []
    for number in (1, 2):
        directory = tmp_path / str(number)
        (directory / "sub").mkdir(parents=True, mode=0o700)
        (directory / "sub" / "a").write_bytes(b"a")
        (directory / "sub" / "a").chmod(0o600 if number == 1 else 0o644)
        (directory / "link").symlink_to("sub/a")
        digests.append(Layer.of_directory(directory, "opt/x").digest)
    assert digests[0] == digests[1]


def test_a_directory_lies_under_its_prefix_with_links_programs_and_parents(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"#!")
    (tmp_path / "run").chmod(0o700)
    (tmp_path / "link").symlink_to("run")
    with tarfile.open(fileobj=io.BytesIO(stored(Layer.of_directory(tmp_path, "/opt/x/")))) as archive:
        found = {info.name: (info.type, oct(info.mode), info.linkname, info.mtime, info.uid) for info in archive}
    assert found == {
        "opt": (tarfile.DIRTYPE, "0o755", "", 0, 0),
        "opt/x": (tarfile.DIRTYPE, "0o755", "", 0, 0),
        "opt/x/link": (tarfile.SYMTYPE, "0o777", "run", 0, 0),
        "opt/x/run": (tarfile.REGTYPE, "0o755", "", 0, 0),
    }


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a/../b", "a//b", "./a", "a\0b", "\udcff"])
def test_a_name_that_would_leave_the_layer_is_refused(name: str) -> None:
    with pytest.raises(OciError, match="cannot be the name of a file"):
        Entry(name)


def test_two_entries_of_one_name_are_refused() -> None:
    with pytest.raises(OciError, match="'a'"):
        Layer.of([Entry.file("a", b"1"), Entry.file("a", b"2")])


def test_a_file_that_became_shorter_is_named(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"12345")
    entry = Entry.file("weights.bin", file)
    file.write_bytes(b"123")
    with pytest.raises(OciError, match=r"weights\.bin became shorter"):
        Layer.of([entry])


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(OciError, match=r"weights\.bin cannot be read: No such file"):
        Layer.of([Entry("weights.bin", tmp_path / "weights.bin", 5)])
