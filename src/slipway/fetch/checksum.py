r"""The checksum of a model.

Of a file: its SHA-256. Of a directory: the SHA-256 of its sorted lines `<sha256>  <relative path>`, each with a
newline, one for each file at any depth. With coreutils, in the directory:

    find . -type f -printf '%P\0' | xargs -0 sha256sum | LC_ALL=C sort | sha256sum
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from slipway.fetch.remote import WORK

BLOCK = 1 << 20
FORM = re.compile(r"sha256:([0-9a-f]{64})")


def checksum(path: Path) -> str:
    """`sha256:HEX` of a file or a directory. Raises `OSError`."""
    if path.is_file():
        return f"sha256:{sha256_of(path)}"
    return combined({str(file.relative_to(path)): sha256_of(file) for file in files_below(path)})


def combined(digests: Mapping[str, str]) -> str:
    """The checksum of a directory from the SHA-256 (hex) of each relative path."""
    lines = sorted(f"{digest}  {name}\n".encode(errors="surrogateescape") for name, digest in digests.items())
    return f"sha256:{hashlib.sha256(b''.join(lines)).hexdigest()}"


def files_below(directory: Path) -> list[Path]:
    """All files of a directory, sorted; links count as what they point to."""
    return sorted(
        path for path in directory.rglob("*") if path.is_file() and path.relative_to(directory).parts[0] != WORK
    )


def sha256_of(path: Path, go_on: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of a file in hex; `go_on` is called for each block, and may raise."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            go_on()
            digest.update(block)
    return digest.hexdigest()
