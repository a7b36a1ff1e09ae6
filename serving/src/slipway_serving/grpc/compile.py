"""`python -m slipway_serving.grpc.compile [FILE]`: compiles the protocol's messages. Needs grpcio-tools."""

from __future__ import annotations

import sys
from pathlib import Path

DIRECTORY = Path(__file__).parent
SOURCE = DIRECTORY / "open_inference.proto"
COMPILED = DIRECTORY / "open_inference.binpb"


def main(target: Path = COMPILED) -> int:
    """Writes the descriptors; the exit status of the compiler."""
    from grpc_tools import protoc  # type: ignore[import-untyped]  # noqa: PLC0415  # only developers have it

    return int(protoc.main(["protoc", f"-I{DIRECTORY}", f"--descriptor_set_out={target}", str(SOURCE)]))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
