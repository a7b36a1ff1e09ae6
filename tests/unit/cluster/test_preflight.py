"""What a machine lacks is said with the command that brings it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.cluster.errors import ClusterError
from slipway.cluster.preflight import check_hosts


def test_a_machine_without_a_file_of_hosts_is_told_to_make_it(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    with pytest.raises(ClusterError) as raised:
        check_hosts(file)
    assert raised.value.hint == f"Make it: echo 127.0.0.1 localhost >{file}"
    file.write_text("127.0.0.1 localhost\n")
    check_hosts(file)
