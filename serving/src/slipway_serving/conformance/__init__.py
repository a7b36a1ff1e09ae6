"""A conformance suite for the Open Inference Protocol: `slipway-serve conformance URL`, against any server.

It knows nothing of this package's server: it speaks HTTP and gRPC, and needs numpy, and grpcio for gRPC only.

Sources that the checks name:

- "REST" and "gRPC": the protocol's text, open-inference-protocol, specification/protocol (inference_rest.md,
  inference_grpc.md, open_inference_grpc.proto), and where they have gaps KServe's docs/predict-api/v2/required_api.md
- "Triton": the extensions, triton-inference-server, docs/protocol/extension_*.md
- "V1": KServe's data plane V1, which is TensorFlow Serving's REST API
- RFCs by their number
"""

from __future__ import annotations
