"""Names of clusters are directories: what is no name is refused before anything is touched."""

import io

import pytest

from slipway.cluster import lifecycle
from slipway.cluster.errors import ClusterError
from slipway.progress import LineProgress

QUIET = LineProgress(io.StringIO())


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "Dev", "1st", "-a", "a-", "a" * 33, "dev\n"])
def test_what_is_no_name_is_refused(name, monkeypatch, tmp_path):
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "clusters").mkdir(parents=True)
    for call in (lambda: lifecycle.delete(name, QUIET), lambda: lifecycle.create(name, 1, QUIET)):
        with pytest.raises(ClusterError, match="cannot name a cluster"):
            call()
    assert (tmp_path / "home" / "clusters").is_dir()


@pytest.mark.parametrize("nodes", [0, -1, 17])
def test_a_cluster_has_a_sensible_number_of_nodes(nodes):
    with pytest.raises(ClusterError, match="1 to 16 nodes"):
        lifecycle.create("dev", nodes, QUIET)


def test_a_cluster_that_is_not_there_is_said_with_those_that_are(monkeypatch, tmp_path):
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    with pytest.raises(ClusterError, match="no local cluster dev") as error:
        lifecycle.delete("dev", QUIET)
    assert "slipway cluster create dev" in error.value.hint
