"""Where a model comes from, and how it gets into a pod."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.duration import parse_duration
from slipway.api.modelservice import DEFAULT_FETCH_TIMEOUT, FETCHED, Model


@dataclass(frozen=True, slots=True)
class ImageModel:
    """A model in an OCI image. `digest` is None where the URI names a tag only."""

    reference: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class ClaimModel:
    """A model in a directory of a volume claim; `path` is empty for the volume itself."""

    claim: str
    path: str


@dataclass(frozen=True, slots=True)
class FetchedModel:
    """A model that is downloaded before the server starts. `timeout` is in seconds; `secret` has its credentials."""

    uri: str
    checksum: str | None
    timeout: int
    secret: str | None


ModelSource = ImageModel | ClaimModel | FetchedModel


def read_model_uri(uri: str) -> ImageModel | ClaimModel | None:
    """The source that a valid URI names, None for one that is downloaded."""
    scheme, _, rest = uri.partition("://")
    if scheme == "oci":
        _, at, digest = rest.partition("@")
        return ImageModel(rest, digest if at else None)
    if scheme == "pvc":
        claim, _, path = rest.partition("/")
        return ClaimModel(claim, path.strip("/"))
    if scheme not in FETCHED:
        raise ValueError(f"{uri!r} has no scheme that is served")
    return None


def plan_source(model: Model, digest: str | None, *, image_volumes: bool) -> ModelSource:
    """How the model gets into the pod. `digest` is what its tag was resolved to; `image_volumes`: nodes can mount it.

    A tag gives way to its digest, so that all replicas of a revision have the same model, whenever they start.
    """
    source = read_model_uri(model.uri)
    if isinstance(source, ImageModel) and digest and not source.digest:
        source = ImageModel(f"{source.reference}@{digest}", digest)
    if isinstance(source, ClaimModel) or (isinstance(source, ImageModel) and image_volumes):
        return source
    uri = f"oci://{source.reference}" if source else model.uri
    timeout = int(parse_duration(model.fetch_timeout or DEFAULT_FETCH_TIMEOUT))
    return FetchedModel(uri, model.checksum, max(timeout, 1), model.secret_ref.name if model.secret_ref else None)
