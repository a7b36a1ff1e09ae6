"""Sending images to a registry: the push half of the OCI distribution specification 1.1."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from slipway.oci.errors import OciError
from slipway.oci.image import MANIFEST, Image, digest_of
from slipway.progress import Progress

REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
ATTEMPTS = 4
FIRST_PAUSE = 0.25
PARALLEL = 4
TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
MEGABYTE = 1_000_000

_OWN = "Is its cluster running? slipway status"
_FOREIGN = "Check its name, and the way to it."

Report = Callable[[int], None]
"""Told how many more bytes are at the registry."""


class RegistryClient:
    """One registry, by its URL (`https://HOST:PORT`). Threads may share it. Every call raises `OciError`.

    A connection that fails, and an answer that says the registry is not ready (429, 5xx), is tried again three times.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        trust: ssl.SSLContext | None = None,
        auth: httpx2.Auth | None = None,
        transport: httpx2.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
        attempts: int = ATTEMPTS,
        timeout: httpx2.Timeout | float = TIMEOUT,
    ) -> None:
        """`tls` also means a registry of our own, which no proxy stands before; `trust` is for any other.

        `pause` waits between the `attempts`; `timeout` bounds each wait for bytes, in seconds.
        """
        self.url = url.rstrip("/")
        self._pause = pause
        self._attempts = attempts
        self._hint = _OWN if tls else _FOREIGN
        self._stopped = threading.Event()
        self._homes: dict[str, str] = {}  # where each blob was seen: the registry can share it with other repositories
        try:
            self._http = httpx2.Client(
                base_url=self.url,
                verify=tls or trust or True,
                auth=auth,
                trust_env=tls is None,
                transport=transport,
                timeout=timeout,
            )
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise self._unreachable(error) from error

    @classmethod
    def mutual_tls(cls, url: str, ca: Path, cert: Path, key: Path) -> RegistryClient:
        """A registry that trusts this client certificate, as a local cluster's does. All files are PEM."""
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(cert, key)
        return cls(url, tls=context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._http.close()

    def digest(self, repository: str, reference: str) -> str | None:
        """The digest of a tag or digest in a repository; None when the registry has no such image."""
        answer = self._send("HEAD", f"/v2/{repository}/manifests/{reference}", headers={"Accept": MANIFEST})
        if answer.status_code == httpx2.codes.NOT_FOUND:
            return None
        self._expect(answer, httpx2.codes.OK)
        return answer.headers.get("Docker-Content-Digest") or digest_of(self.manifest(repository, reference))

    def manifest(self, repository: str, reference: str) -> bytes:
        """The manifest of a tag or digest, checked against the digest where that is what was asked for."""
        answer = self._send("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": MANIFEST})
        content = self._expect(answer, httpx2.codes.OK).content
        if ":" in reference and digest_of(content) != reference:
            raise OciError(f"{self.url} sent another manifest than {reference}.", "Check the registry's storage.")
        return content

    def upload(self, image: Image, repository: str, tag: str, report: Report = lambda _: None) -> str:
        """Sends what the registry does not have yet, four layers at a time, then the manifest. Returns its digest."""
        check_name(repository, tag)
        self._upload_layers(image, repository, report)
        config = image.config_bytes
        self._blob(repository, digest_of(config), len(config), lambda: iter([config]), lambda _: None)
        answer = self._send(
            "PUT", f"/v2/{repository}/manifests/{tag}", content=image.manifest, headers={"Content-Type": MANIFEST}
        )
        self._expect(answer, httpx2.codes.CREATED)
        return image.digest

    def _upload_layers(self, image: Image, repository: str, report: Report) -> None:
        """All of them, or none further: what fails or is interrupted stops the others within a block."""
        pool = ThreadPoolExecutor(PARALLEL)
        sent = [
            pool.submit(self._blob, repository, layer.digest, layer.size, layer.read, report)
            for layer in {layer.digest: layer for layer in image.layers}.values()
        ]
        try:
            for future in sent:
                future.result()
        except BaseException:
            self._stopped.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _blob(
        self, repository: str, digest: str, size: int, read: Callable[[], Iterator[bytes]], report: Report
    ) -> None:
        """One blob, in one request after the one that asks where to; from the beginning again when that broke off."""
        sent = _Counted(size, read, report, self._stopped)
        there = self._send("HEAD", f"/v2/{repository}/blobs/{digest}")
        if there.status_code != httpx2.codes.OK:
            self._expect(there, httpx2.codes.NOT_FOUND)
            answer = self._again(lambda: self._put_blob(repository, digest, size, sent))
            self._expect(answer, httpx2.codes.CREATED)
        self._homes[digest] = repository
        sent.done()

    def _put_blob(self, repository: str, digest: str, size: int, content: _Counted) -> httpx2.Response:
        home = self._homes.get(digest)
        mount = {"mount": digest, "from": home} if home else {}
        begun = self._http.post(f"/v2/{repository}/blobs/uploads/", params=mount)
        if begun.status_code != httpx2.codes.ACCEPTED or "Location" not in begun.headers:
            return begun  # refused, or shared: then it is there
        place = begun.request.url.join(begun.headers["Location"]).copy_merge_params({"digest": digest})
        if place.scheme != "https" and begun.request.url.scheme == "https":
            raise OciError(f"The registry {self.url} wants the model at a place without TLS.", "Give it an https URL.")
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        return self._http.put(place, content=content, headers=headers)

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return self._again(lambda: self._http.request(method, path, **options))

    def _again(self, call: Callable[[], httpx2.Response]) -> httpx2.Response:
        """As many attempts as it has, with growing pauses."""
        for attempt in range(self._attempts):
            last = attempt == self._attempts - 1
            try:
                answer = call()
            except httpx2.TransportError as error:
                if last or _hopeless(error):
                    raise self._unreachable(error) from error
            except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:  # what cannot be asked or understood
                raise self._unreachable(error) from error
            else:
                if last or not _busy(answer):
                    return answer
            self._pause(FIRST_PAUSE * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _unreachable(self, error: Exception) -> OciError:
        why = " ".join(str(error).split()) or type(error).__name__
        return OciError(f"The registry {self.url} cannot be reached: {why}", self._hint)

    def _expect(self, answer: httpx2.Response, code: int) -> httpx2.Response:
        if answer.status_code == code:
            return answer
        request = answer.request
        what = f"{request.method} {request.url.path.removeprefix('/v2/')}"
        if answer.status_code in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
            hint = f"Log in: docker login {request.url.netloc.decode()}"
        else:
            hint = "Run the command again: what arrived is not sent again."
        raise OciError(f"The registry {self.url} answered {answer.status_code} to {what}{_reason(answer)}", hint)


def push(image: Image, registry: RegistryClient, repository: str, tag: str, progress: Progress) -> str:
    """Sends an image with visible progress. Returns the digest by which a ModelService or a pod can name it."""
    with progress.step(f"Pushing {repository}:{tag}") as step:
        total = image.size / MEGABYTE
        shown = Total(lambda done: step.detail(f"{done / MEGABYTE:.1f} of {total:.1f} MB"))
        return registry.upload(image, repository, tag, shown.add)


class Total:
    """A sum that several threads add to, shown after each."""

    def __init__(self, show: Callable[[int], None]) -> None:
        self._show = show
        self._sum = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._sum += count
            self._show(self._sum)


def registry_url(host: str) -> str:
    """Where the registry of an image's name answers: as everywhere, without TLS on this machine only."""
    if host in {"docker.io", "index.docker.io"}:
        return "https://registry-1.docker.io"
    name = host.rpartition(":")[0] or host
    plain = name in {"localhost", "[::1]"} or re.fullmatch(r"127(\.\d{1,3}){3}", name)
    return f"{'http' if plain else 'https'}://{host}"


def check_name(repository: str, tag: str) -> None:
    """`OciError` when an image cannot be called so (distribution-spec 1.1, "Pulling manifests")."""
    if not REPOSITORY.fullmatch(repository):
        raise OciError(
            f"{repository!r} cannot name a repository.", "Use lower-case letters, digits, '.', '_', '-' and '/'."
        )
    if not TAG.fullmatch(tag):
        raise OciError(f"{tag!r} cannot be a tag.", "Use 1 to 128 letters, digits, '.', '_' and '-'.")


class _Counted:
    """A content that reports each block once, however often it is sent, and also what need not be sent."""

    def __init__(
        self, size: int, read: Callable[[], Iterator[bytes]], report: Report, stopped: threading.Event
    ) -> None:
        self._stopped = stopped
        self._size = size
        self._read = read
        self._report = report
        self._reported = 0

    def __iter__(self) -> Iterator[bytes]:
        """From the beginning each time: a registry may ask for a login after it has read it."""
        sent = 0
        for block in self._read():
            if self._stopped.is_set():
                raise OciError("The upload was stopped.", "Run the command again: what arrived is not sent again.")
            yield block
            sent += len(block)
            self._reach(sent)

    def done(self) -> None:
        self._reach(self._size)

    def _reach(self, count: int) -> None:
        if count > self._reported:
            self._report(count - self._reported)
            self._reported = count


def _hopeless(error: Exception) -> bool:
    """A certificate that does not fit today will not fit in a second; nor will a mistake of ours."""
    cause = error.__cause__ or error.__context__
    refused = isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE" in str(error).upper()
    return refused or isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError)


def _busy(answer: httpx2.Response) -> bool:
    return answer.status_code == httpx2.codes.TOO_MANY_REQUESTS or answer.is_server_error


def _reason(answer: httpx2.Response) -> str:
    """What the registry says about it (distribution-spec 1.1, "Error codes")."""
    try:
        errors = answer.json()["errors"]
        words = "; ".join(f"{error['code']} {error.get('message', '')}".strip() for error in errors)
    except (ValueError, KeyError, TypeError):
        return "."
    return f": {words[:200]}." if words else "."
