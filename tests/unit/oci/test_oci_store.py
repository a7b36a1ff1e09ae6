from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.oci import Entry, Image, ImageStore, Layer, OciError


def image(content: bytes, *, compress: bool = False) -> Image:
    return Image.of(Layer.of([Entry.file("a", content)], compress=compress), entrypoint=("/a",), annotations={"b": "c"})


@given(st.binary(max_size=3000), st.booleans())
def test_an_image_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, compress: bool
) -> None:
    store = ImageStore(tmp_path_factory.mktemp("store"))
    written = image(content, compress=compress)
    store.write("x", written)
    read = store.read("x")
    assert read is not None
    assert (read.digest, read.manifest, read.config) == (written.digest, written.manifest, written.config)
    assert b"".join(read.layers[0].read()) == b"".join(written.layers[0].read())


def test_a_name_moves_and_others_stay(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    one, two = image(b"1"), image(b"2")
    store.write("x", one)
    store.write("y", one)
    store.write("x", two)
    found = [store.read(name) for name in ("x", "y", "z")]
    assert [read.digest if read else None for read in found] == [two.digest, one.digest, None]


def test_an_image_whose_blob_is_gone_is_not_there(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    kept = store.write("x", image(b"1"))
    (tmp_path / "blobs" / "sha256" / kept.layers[0].digest.removeprefix("sha256:")).unlink()
    assert store.read("x") is None


@pytest.mark.parametrize("index", ["{", "[]", '{"manifests": 1}'])
def test_a_damaged_store_says_what_to_delete(tmp_path: Path, index: str) -> None:
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(OciError, match="is damaged") as failed:
        ImageStore(tmp_path).read("x")
    assert str(tmp_path) in failed.value.hint


def test_a_digest_in_the_index_cannot_lead_out_of_the_store(tmp_path: Path) -> None:
    entry = {"digest": "sha256:../../secret", "annotations": {"org.opencontainers.image.ref.name": "x"}}
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [entry]}))
    with pytest.raises(OciError, match="is damaged"):
        ImageStore(tmp_path).read("x")


def test_a_layer_that_changed_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    layer = Layer.of([Entry.file("file", file)])
    file.write_bytes(b"behind")
    store = ImageStore(tmp_path / "store")
    with pytest.raises(OciError, match="changed while it was made"):
        store.keep(layer)
    assert list((tmp_path / "store" / "blobs" / "sha256").iterdir()) == []


def test_an_exported_archive_holds_the_whole_image(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    written = store.write("pause", image(b"1"))
    store.export("pause", "localhost/pause:1", tmp_path / "pause.tar")
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "pause.tar").read_bytes())) as archive:
        names = archive.getnames()
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]  # it is a file
    entry = index["manifests"][0]
    assert entry["digest"] == written.digest
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/pause:1"
    assert len(names) == 5
    with pytest.raises(OciError, match="no image other"):
        store.export("other", "localhost/pause:1", tmp_path / "pause.tar")
