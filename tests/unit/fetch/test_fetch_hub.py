from __future__ import annotations

import hashlib

import pytest

from .conftest import Fetcher
from .server import Hub

WEIGHTS = bytes(range(256)) * 10_000
FILES = {"config.json": b"{}", "onnx/model.onnx": WEIGHTS, "onnx/sub/x.txt": b"x", "onnx-fp16.onnx": b"y"}


def test_a_repository_is_a_directory(fetcher: Fetcher) -> None:
    Hub(fetcher.web, FILES)
    fetcher.run("hf://org/model")
    assert fetcher.files == dict(sorted(FILES.items()))


def test_a_revision_with_a_slash_a_directory_and_a_file(fetcher: Fetcher) -> None:
    Hub(fetcher.web, FILES)
    fetcher.run("hf://org/model@refs%2Fpr%2F1/onnx")
    assert fetcher.files == {"model.onnx": WEIGHTS, "sub/x.txt": b"x"}
    fetcher.run("hf://org/model/onnx/model.onnx", checksum=f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}")


def test_a_broken_file_is_resumed_at_the_place_that_the_hub_redirects_to(fetcher: Fetcher) -> None:
    Hub(fetcher.web, FILES)
    fetcher.web.things["/cdn/onnx/model.onnx"].break_at = [1_500_000]
    fetcher.run("hf://org/model")
    assert fetcher.files["onnx/model.onnx"] == WEIGHTS
    assert fetcher.web.ranges("/cdn/onnx/model.onnx")[-1] not in {"", "bytes=0-"}


def test_a_token_goes_to_the_hub_only(fetcher: Fetcher) -> None:
    Hub(fetcher.web, {"config.json": b"{}"}, token="t0ken")
    fetcher.environment = {"HF_TOKEN": "t0ken"}
    fetcher.run("hf://org/model")
    assert fetcher.files == {"config.json": b"{}"}


def test_bytes_with_another_sha256_than_the_hub_says_are_refused(fetcher: Fetcher) -> None:
    Hub(fetcher.web, FILES)
    fetcher.web.things["/cdn/onnx/model.onnx"].content = WEIGHTS[::-1]
    assert "onnx/model.onnx arrived with another SHA-256" in fetcher.fails("hf://org/model")


@pytest.mark.parametrize(
    ("uri", "token", "why"),
    [
        ("hf://org/model", "needed", "the model is gated and these credentials have no access; accept its conditions"),
        ("hf://org/modell", "", "there is no such repository, or these credentials may not read it (status 401)"),
        ("hf://org/model@v9", "", "there is no revision 'v9'; name a branch, tag or commit"),
        ("hf://org/model/onx", "", "'onx' is not in revision 'main'; check the path on the model's page"),
        ("hf://org/.model", "", "that names no repository; write it as hf://ORGANISATION/REPOSITORY"),
    ],
)
def test_what_is_missing_is_said(fetcher: Fetcher, uri: str, token: str, why: str) -> None:
    Hub(fetcher.web, FILES, token)
    assert why in fetcher.fails(uri)


@pytest.mark.parametrize("answer", [b"{", b"[]", b'{"sha": "main", "siblings": []}', b'{"sha": "' + b"a" * 40 + b'"}'])
def test_an_answer_of_another_kind_is_a_sentence(fetcher: Fetcher, answer: bytes) -> None:
    fetcher.web.put("/api/models/org/model/revision/main", answer)
    assert "the hub's answer is not understood" in fetcher.fails("hf://org/model")


def test_a_file_name_that_leads_out_is_refused(fetcher: Fetcher) -> None:
    Hub(fetcher.web, {"../../etc/x": b"x"})
    assert "'../../etc/x' cannot be the name of a file" in fetcher.fails("hf://org/model")
