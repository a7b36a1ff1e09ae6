"""OCI images written in plain Python: no container engine, no daemon, the same bytes every time.

`layer` makes layers, `image` manifests, `model` an image of a model; `store` keeps images in a directory, `registry`
sends them. Specifications: OCI image-spec 1.1 and distribution-spec 1.1.
"""

from __future__ import annotations

from slipway.oci.errors import OciError
from slipway.oci.image import Image
from slipway.oci.layer import Entry, Layer, entries_of
from slipway.oci.model import model_image
from slipway.oci.registry import RegistryClient, push
from slipway.oci.store import ImageStore

__all__ = ["Entry", "Image", "ImageStore", "Layer", "OciError", "RegistryClient", "entries_of", "model_image", "push"]
