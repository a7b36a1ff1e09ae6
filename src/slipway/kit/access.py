"""Where the API server is and how to prove who asks: kubeconfig files, or the service account of the pod.

Formats: Kubernetes documentation, "kubeconfig (v1)" and "Accessing the API from a Pod".
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml

from slipway.kit.credentials import EXEC_VERSIONS, BearerAuth, ConfigError, ExecAuth, ExecPlugin, TokenFileAuth

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")

Mapped = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Access:
    """One API server, and credentials for it."""

    server: str
    verify: ssl.SSLContext | bool = True
    auth: httpx2.Auth = field(default_factory=httpx2.Auth)
    proxy: str | None = None
    server_name: str | None = None  # the name in the server's certificate, where it is not the address
    namespace: str = "default"

    @classmethod
    def from_kubeconfig(cls, path: Path | None = None, context: str | None = None) -> Access:
        """The named or the current context of `path`, else of the files of `$KUBECONFIG`, else of `~/.kube/config`.

        `ConfigError` when there is no such file or context, or the entry is wrong.
        """
        config = _merged([path] if path else _default_paths())
        name = context or config.current
        if not name:
            raise ConfigError(f"{config.where} has no current context. Name one of: {_names(config.contexts)}.")
        chosen = _entry(config.contexts, name, "context", config.where)
        cluster = _entry(config.clusters, str(chosen.get("cluster")), "cluster", config.where)
        user = _entry(config.users, str(chosen["user"]), "user", config.where) if chosen.get("user") else {}
        server = cluster.get("server")
        if not isinstance(server, str) or not server.startswith(("https://", "http://")):
            raise ConfigError(f"{config.where}: the cluster of context {name} has no server address.")
        return cls(
            server=server.rstrip("/"),
            verify=_tls(cluster, user, config.where),
            auth=_auth(cluster, user, config.where),
            proxy=_proxy(cluster, config.where),
            server_name=str(cluster["tls-server-name"]) if cluster.get("tls-server-name") else None,
            namespace=str(chosen.get("namespace") or "default"),
        )

    @classmethod
    def in_cluster(cls, directory: Path = SERVICE_ACCOUNT, environ: Mapped = os.environ) -> Access:
        """The API server of the cluster that this pod runs in. `ConfigError` outside of a pod."""
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port or not (directory / "token").is_file():
            raise ConfigError("Not inside a cluster: there is no service account token. Name a kubeconfig file.")
        try:
            namespace = (directory / "namespace").read_text(encoding="ascii").strip()
        except OSError:
            namespace = "default"
        return cls(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            verify=_tls({"certificate-authority": directory / "ca.crt"}, {}, "The service account"),
            auth=TokenFileAuth(directory / "token"),
            namespace=namespace,
        )


@dataclass(slots=True)
class _Config:
    where: str
    current: str | None = None
    clusters: dict[str, Mapped] = field(default_factory=dict)
    users: dict[str, Mapped] = field(default_factory=dict)
    contexts: dict[str, Mapped] = field(default_factory=dict)


def _default_paths() -> list[Path]:
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    existing = [path for path in named if path.is_file()]
    return existing or named[:1] or [Path.home() / ".kube" / "config"]


def _merged(paths: list[Path]) -> _Config:
    """All files as one; what is named twice counts where it is named first, as kubectl has it."""
    config = _Config(", ".join(map(str, paths)))
    for path in paths:
        document = _read(path)
        current = document.get("current-context")
        config.current = config.current or (current if isinstance(current, str) else None)
        for section, entry in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            known: dict[str, Mapped] = getattr(config, section)
            for name, body in _named(document.get(section), entry):
                known.setdefault(name, _absolute(body, path.parent))
    return config


def _read(path: Path) -> Mapped:
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a tenth of the time, where it is compiled
        document = yaml.load(path.expanduser().read_text(encoding="utf-8"), loader)  # noqa: S506  # both are safe
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such kubeconfig file.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a readable kubeconfig file: {type(error).__name__}.") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: not a kubeconfig file: a mapping is expected.")
    return document


def _named(items: Any, entry: str) -> list[tuple[str, Mapped]]:
    entries = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return [(str(item.get("name")), item[entry]) for item in entries if isinstance(item.get(entry), dict)]


def _absolute(body: Mapped, directory: Path) -> Mapped:
    """A relative file name counts from the file that has it."""
    return {**body, **{key: str(directory / body[key]) for key in _PATHS if isinstance(body.get(key), str)}}


def _names(entries: Mapped) -> str:
    return ", ".join(sorted(entries)[:5]) or "(there are none)"


def _entry(entries: dict[str, Mapped], name: str, what: str, where: str) -> Mapped:
    if name not in entries:
        raise ConfigError(f"{where} has no {what} {name}. There are: {_names(entries)}.")
    return entries[name]


def _data(body: Mapped, key: str, where: str) -> bytes | None:
    """The content of `KEY-data`, else of the file that `KEY` names."""
    try:
        if body.get(f"{key}-data"):
            return base64.b64decode(str(body[f"{key}-data"]), validate=True)
        return Path(str(body[key])).read_bytes() if body.get(key) else None
    except (OSError, binascii.Error) as error:
        raise ConfigError(f"{where}: {key} cannot be read: {error}.") from error


def _tls(cluster: Mapped, user: Mapped, where: str) -> ssl.SSLContext:
    authority = _data(cluster, "certificate-authority", where)
    try:
        context = ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = _data(user, "client-certificate", where), _data(user, "client-key", where)
        if certificate and key:
            _load_identity(context, certificate, key)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: a certificate or key is not in PEM form, or the two do not match.") from error
    return context


def _load_identity(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Python's TLS reads an identity from a file only: it is on disk for as long as that takes, for nobody else."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "identity.pem")
        path.touch(mode=0o600)
        path.write_bytes(certificate + b"\n" + key)
        context.load_cert_chain(path)


def _proxy(cluster: Mapped, where: str) -> str | None:
    proxy = cluster.get("proxy-url")
    if proxy and not str(proxy).startswith(("http://", "https://", "socks5://")):
        raise ConfigError(f"{where}: proxy-url is not an http, https or socks5 address.")
    return str(proxy) if proxy else None


def _auth(cluster: Mapped, user: Mapped, where: str) -> httpx2.Auth:
    if user.get("tokenFile"):
        return TokenFileAuth(Path(str(user["tokenFile"])))
    if user.get("token"):
        return BearerAuth(str(user["token"]))
    if isinstance(user.get("exec"), dict):
        return ExecAuth(_plugin(cluster, user["exec"], where))
    if user.get("username") and user.get("password"):
        return httpx2.BasicAuth(str(user["username"]), str(user["password"]))
    if user.get("auth-provider"):
        raise ConfigError(f"{where}: auth-provider is gone from Kubernetes since 1.26; use an exec plugin.")
    return httpx2.Auth()


def _plugin(cluster: Mapped, spec: Mapped, where: str) -> ExecPlugin:
    version, command = str(spec.get("apiVersion")), spec.get("command")
    if version not in EXEC_VERSIONS or not isinstance(command, str):
        raise ConfigError(f"{where}: exec needs a command and one of the versions {', '.join(EXEC_VERSIONS)}.")
    arguments, variables = spec.get("args") or [], spec.get("env") or []
    if not isinstance(arguments, list) or not isinstance(variables, list) or not all(map(_is_variable, variables)):
        raise ConfigError(f"{where}: exec has args that are no list, or env that is no list of name and value.")
    public = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
    return ExecPlugin(
        api_version=version,
        command=[command, *map(str, arguments)],
        env={item["name"]: item["value"] for item in variables},
        hint=str(spec.get("installHint") or ""),
        cluster={key: cluster[key] for key in public if key in cluster} if spec.get("provideClusterInfo") else None,
    )


def _is_variable(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get("value"), str)
