"""The example's model is what its script makes: run `python examples/iris/train.py examples/iris` after a change.

And the example in the package, which the server's image is as a model.
"""

import subprocess
import sys
from pathlib import Path

import slipway_serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "iris"


def test_the_model_in_the_repository_is_made_by_its_script(tmp_path):
    said = subprocess.run([sys.executable, EXAMPLE / "train.py", tmp_path], check=True, capture_output=True, text=True)
    assert "accuracy" in said.stdout
    for name in ("model.onnx", "model.yaml"):
        assert (tmp_path / name).read_bytes() == (EXAMPLE / name).read_bytes()


async def test_the_example_in_the_package_answers(serving):
    async with serving(Path(slipway_serving.__file__).parent / "example") as client:
        shown = (await client.get("/predict")).json()
        assert shown["response"] == {"model": "example", "outputs": {"sum": [6.0]}}
        answer = await client.post("/predict", json={"x": [[1, 2, 3], [4, 5, 6]]})
    assert answer.json()["outputs"] == {"sum": [6.0, 15.0]}
