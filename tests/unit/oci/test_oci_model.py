from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from slipway.oci import Image, OciError, model_image
from slipway.oci.model import LARGE, MOST_LAYERS


def names(image: Image) -> list[list[str]]:
    found = []
    for layer in image.layers:
        with tarfile.open(fileobj=io.BytesIO(b"".join(layer.read()))) as archive:
            found.append(archive.getnames())
    return found


def sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def test_a_file_becomes_an_image_with_that_file_at_its_root(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    image = model_image(tmp_path / "model.onnx")
    assert names(image) == [["model.onnx"]]
    assert image.config["rootfs"]["diff_ids"] == [image.layers[0].diff_id]
    assert image.annotations == {"org.opencontainers.image.title": "model.onnx"}


def test_the_same_directory_elsewhere_is_the_same_digest(tmp_path: Path) -> None:
    for parent in ("one", "two"):
        (tmp_path / parent / "iris" / "sub").mkdir(parents=True)
        (tmp_path / parent / "iris" / "sub" / "labels.txt").write_text("a")
        (tmp_path / parent / "iris" / "model.onnx").write_text("b")
        os.utime(tmp_path / parent / "iris" / "model.onnx", (len(parent), 7))
    digests = {model_image(tmp_path / parent / "iris").digest for parent in ("one", "two")}
    assert len(digests) == 1


def test_large_files_are_layers_of_their_own_and_the_small_ones_share_one(tmp_path: Path) -> None:
    sparse(tmp_path / "b.safetensors", LARGE)
    sparse(tmp_path / "a.safetensors", LARGE + 1)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref")
    assert names(model_image(tmp_path)) == [["config.json"], ["a.safetensors"], ["b.safetensors"]]


def test_very_many_large_files_share_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.oci.model.LARGE", 1)
    for number in range(MOST_LAYERS + 1):
        (tmp_path / f"{number:03}").write_bytes(b"x")
    found = names(model_image(tmp_path))
    assert found[0] == ["000", "001"]
    assert len(found) == (MOST_LAYERS + 2) // 2


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"weights")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.onnx").symlink_to("../blob")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "model.onnx").write_bytes(b"weights")
    assert model_image(tmp_path / "model").layers[0].digest == model_image(tmp_path / "copy").layers[0].digest


def test_what_cannot_be_a_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(OciError, match=r"nothing\.onnx: no such file"):
        model_image(tmp_path / "nothing.onnx")
    (tmp_path / "sub").mkdir()
    with pytest.raises(OciError, match="no file in it"):
        model_image(tmp_path)
    (tmp_path / "lost").symlink_to("nowhere")
    with pytest.raises(OciError, match="lost: No such file"):
        model_image(tmp_path)
    (tmp_path / "lost").unlink()
    (tmp_path / "loop").symlink_to(".")
    with pytest.raises(OciError, match="loop: a link to a directory"):
        model_image(tmp_path)
    (tmp_path / "loop").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OciError, match="pipe: neither a file nor a directory"):
        model_image(tmp_path)
