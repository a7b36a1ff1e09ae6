"""Trains boosted trees on the iris data: FORMAT DIRECTORY. The model is what the library of that format writes."""

from __future__ import annotations

import sys
from pathlib import Path

import lightgbm
import xgboost
from sklearn.datasets import load_iris

FORMAT, DIRECTORY = sys.argv[1:]
ROUNDS = 5

iris = load_iris()
if FORMAT == "xgboost":
    softmax = {"objective": "multi:softprob", "num_class": 3}
    xgboost.train(softmax, xgboost.DMatrix(iris.data, iris.target), ROUNDS).save_model(Path(DIRECTORY, "model.ubj"))
else:
    softmax = {"objective": "multiclass", "num_class": 3, "verbosity": -1}
    lightgbm.train(softmax, lightgbm.Dataset(iris.data, iris.target), ROUNDS).save_model(Path(DIRECTORY, "model.txt"))
