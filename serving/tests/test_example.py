"""The example's model is what its script makes: run `python examples/iris/train.py examples/iris` after a change."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "iris"


def test_the_model_in_the_repository_is_made_by_its_script(tmp_path):
    said = subprocess.run([sys.executable, EXAMPLE / "train.py", tmp_path], check=True, capture_output=True, text=True)
    assert "accuracy" in said.stdout
    for name in ("model.onnx", "model.yaml"):
        assert (tmp_path / name).read_bytes() == (EXAMPLE / name).read_bytes()
