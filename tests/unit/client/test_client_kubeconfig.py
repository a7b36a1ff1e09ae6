import pytest

from slipway.client import kubeconfig
from slipway.client.errors import InvalidInputError, NotFoundError

CONFIG = """
apiVersion: v1
kind: Config
current-context: prod
clusters:
- {name: one, cluster: {server: "https://10.0.0.4:6443"}}
contexts:
- {name: prod, context: {cluster: one, user: me, namespace: ml}}
- {name: staging, context: {cluster: one, user: me}}
- broken
- {name: 3, context: {}}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config"
    path.write_text(CONFIG)
    return path


def test_contexts(file):
    config = kubeconfig.read(file)
    assert config.context(None) == kubeconfig.Context(file, "prod", "https://10.0.0.4:6443", "ml")
    assert config.context("staging").namespace == "default"
    assert set(config.contexts) == {"prod", "staging"}


def test_unknown_context_names_the_near_one(file):
    with pytest.raises(NotFoundError) as error:
        kubeconfig.read(file).context("stagin")
    assert "no context stagin; did you mean staging?" in error.value.message
    assert "prod, staging" in error.value.hint


def test_without_current_context(tmp_path):
    file = tmp_path / "config"
    file.write_text("{}")
    with pytest.raises(NotFoundError, match="no current context"):
        kubeconfig.read(file).context(None)


def test_missing_file(tmp_path):
    with pytest.raises(NotFoundError, match="no such kubeconfig file"):
        kubeconfig.read(tmp_path / "none")


@pytest.mark.parametrize(("content", "says"), [(b"a: [", ": not YAML"), (b"- x", "a mapping"), (b"\xff", "be read")])
def test_what_is_no_kubeconfig(tmp_path, content, says):
    file = tmp_path / "config"
    file.write_bytes(content)
    with pytest.raises(InvalidInputError) as error:
        kubeconfig.read(file)
    assert says in error.value.message
