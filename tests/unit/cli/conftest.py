import json
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from typer.testing import CliRunner

from slipway.cli.app import app
from slipway.kit.objects import MODEL_SERVICE
from slipway.kit.testing.http import serving

OWN = ("CONFIG", "CONTEXT", "NAMESPACE", "OUTPUT", "REGISTRY")
VARIABLES = ("XDG_CONFIG_HOME", *(f"SLIPWAY_{name}" for name in OWN))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user with nothing: no kubeconfig, no local cluster, no proxy."""
    for variable in ("KUBECONFIG", "SLIPWAY_HOME", "XDG_DATA_HOME", "NO_COLOR", *VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "slipway"))
    (tmp_path / "home").mkdir()
    return tmp_path


@pytest.fixture
def slipway(home):
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


REGISTRY = {"HEAD": 404, "POST": 202, "PUT": 201}
"""How a registry answers that has nothing yet and takes everything."""


class Answers:
    """An API server, and a registry, that gives the answers that it was told to, and keeps what it was asked."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.url = ""

    def on(self, method, path, status, body):
        """Answers requests to this path, whatever their query, with this status and JSON."""
        self.answers[method, path] = (status, body)

    def answer(self, method, target, body):
        path, _, query = target.partition("?")
        if path.startswith("/v2/"):
            self.asked.append((method, path, query, None))
            return REGISTRY[method], b""
        self.asked.append((method, path, query, json.loads(body) if body else None))
        return self.answers.get((method, path), (404, {"reason": "NotFound", "message": f"{path} not found"}))


@pytest.fixture
def api(home, write_kubeconfig, monkeypatch):
    """The current context's API server, on loopback."""
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def _any(self):
            length = int(self.headers.get("Content-Length", 0))
            status, body = answers.answer(self.command, self.path, self.rfile.read(length))
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Location", "/v2/upload")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815  # http.server's names

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        answers.url = f"http://127.0.0.1:{server.server_port}"
        config = write_kubeconfig(home / "config", answers.url, "prod", namespace="ml")
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield answers
        server.shutdown()
        thread.join()


@pytest.fixture
def cluster(home, write_kubeconfig, monkeypatch):
    """The current context's API server, in memory, which behaves as a real one; an operator that is content at once."""
    with serving() as served:
        served.do(setattr, served.server, "default", content)
        config = write_kubeconfig(home / "config", served.url, "prod", namespace="ml")
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield served


def content(kind, manifest):
    """What an operator would make of a model service: ready, in a revision that follows from its pods' template."""
    if kind is not MODEL_SERVICE or "paused" in manifest["metadata"].get("labels", {}):
        return
    template = [manifest["spec"].get("model"), manifest["spec"].get("server")]
    template.append(manifest["metadata"].get("annotations", {}).get("slipway.dev/restarted-at"))
    revision = f"{zlib.crc32(json.dumps(template, sort_keys=True).encode()):08x}"
    since = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1000, "message": ""}
    count = manifest["spec"].get("scaling", {}).get("min", 1)
    manifest["status"] = {
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Serving", **since},
            {"type": "Progressing", "status": "False", "reason": "RolloutComplete", **since},
        ],
        "revision": revision,
        "replicas": count,
        "readyReplicas": count,
    }
