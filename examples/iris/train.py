"""Trains a small classifier on the iris data and exports it to ONNX, ready for `slipway-serve` and `slipway push`.

python examples/iris/train.py OUTDIR
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SETTINGS = Path(__file__).parent / "model.yaml"


def main() -> None:
    if len(sys.argv) != 2:  # noqa: PLR2004  # the program and one argument
        sys.exit("usage: python examples/iris/train.py OUTDIR")
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    iris = load_iris()
    species = iris.target_names[iris.target]
    x_train, x_test, y_train, y_test = train_test_split(
        iris.data, species, test_size=0.2, random_state=0, stratify=species
    )
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(x_train, y_train)
    onnx = to_onnx(
        model,
        initial_types=[("x", FloatTensorType([None, 4]))],
        options={id(model): {"zipmap": False, "output_class_labels": False}},
    )
    (directory / "model.onnx").write_bytes(onnx.SerializeToString())
    if directory.resolve() != SETTINGS.parent.resolve():
        shutil.copyfile(SETTINGS, directory / SETTINGS.name)
    print(f"accuracy on {len(x_test)} flowers that it has not seen: {model.score(x_test, y_test):.3f}")
    print(f"wrote {directory / 'model.onnx'} and {directory / SETTINGS.name}")


if __name__ == "__main__":
    main()
