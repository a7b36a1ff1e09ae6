"""The model `identity`, which gives back what it gets, for the servers that the suite has been run against."""

from __future__ import annotations

import shutil
from pathlib import Path

_HERE = Path(__file__).parent
_SERVERS = ("slipway", "kserve", "mlserver")
_HOW = """\
Wrote {0}. Serve one of them:
  slipway-serve {0}/slipway/identity
  python {0}/kserve/identity.py                     (pip install kserve)
  mlserver start {0}/mlserver                       (pip install mlserver)
Then: slipway-serve conformance http://localhost:8080 --grpc localhost:PORT
  PORT: 9000 (slipway-serve), 8081 (KServe, MLServer)"""


def write(directory: Path) -> str:
    """Copies the models into a directory; returns how to serve them. Raises OSError."""
    for name in _SERVERS:
        shutil.copytree(
            _HERE / name, directory / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    return _HOW.format(directory)
