"""The names that everything of the platform shares: group, labels, annotations."""

from __future__ import annotations

from typing import Final

GROUP: Final = "slipway.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORY: Final = "slipway"
FIELD_MANAGER: Final = "slipway"

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_MODEL_SERVICE: Final = f"{GROUP}/modelservice"
"""Selects the pods of one ModelService; its value is the ModelService's name."""
LABEL_REVISION: Final = f"{GROUP}/revision"
"""On pods: the revision of the ModelService that they run."""
LABEL_FORMAT: Final = f"{GROUP}/format"
"""On everything made for a ModelService that names its model's format."""
ANNOTATION_CONTENT: Final = f"{GROUP}/content-hash"
"""On pods: a hash of the ConfigMaps, Secrets and files that they read."""
ANNOTATION_RESTARTED_AT: Final = f"{GROUP}/restarted-at"
"""On a ModelService, and its pods: when somebody last asked for a restart (RFC 3339)."""
MODEL_CONTAINER: Final = "model"
"""The container that serves a model."""
FETCH_CONTAINER: Final = "fetch"
"""The init container that downloads a model."""
