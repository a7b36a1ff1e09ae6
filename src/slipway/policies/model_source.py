"""What the URI of a model says."""

from __future__ import annotations

from dataclasses import dataclass


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


ModelSource = ImageModel | ClaimModel


def read_model_uri(uri: str) -> ModelSource:
    """The source that a valid URI names. Raises ValueError for a scheme that the API does not accept."""
    scheme, _, rest = uri.partition("://")
    if scheme == "oci":
        _, at, digest = rest.partition("@")
        return ImageModel(rest, digest if at else None)
    if scheme == "pvc":
        claim, _, path = rest.partition("/")
        return ClaimModel(claim, path.strip("/"))
    raise ValueError(f"{uri!r} has no scheme that is served")
