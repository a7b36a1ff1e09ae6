import pytest
import yaml
from typer.testing import CliRunner

from slipway.cli.app import app


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user with nothing: no kubeconfig, no local cluster, no proxy."""
    for variable in ("KUBECONFIG", "SLIPWAY_HOME", "XDG_DATA_HOME", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "slipway"))
    (tmp_path / "home").mkdir()
    return tmp_path


@pytest.fixture
def slipway(home):  # noqa: ARG001  # the command line of a user with nothing
    """Runs a command line; returns exit code, standard output and standard error."""

    def run(*arguments: object, stdin: str = ""):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin, prog_name="slipway")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def write_kubeconfig():
    """Writes a kubeconfig file."""
    return _write_kubeconfig


def _write_kubeconfig(path, server, *contexts, namespace=None):
    """A kubeconfig file whose first context is the current one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": contexts[0],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": name, "context": context} for name in contexts],
    }
    path.write_text(yaml.safe_dump(config))
    return path
