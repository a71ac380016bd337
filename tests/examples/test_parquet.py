"""The example that begins with Parquet files runs as a user runs it, small, to a saved model."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

EXAMPLE = Path(__file__).parents[2] / "examples" / "parquet.py"


@pytest.mark.cluster
@pytest.mark.slow
def test_files_become_a_saved_pipeline_although_a_worker_is_killed(tmp_path: Path) -> None:
    folder, saved = tmp_path / "flights", tmp_path / "late.joblib"
    command = [sys.executable, str(EXAMPLE), "--rows", "17000", "--workers", "2"]
    command += ["--folder", str(folder), "--model", str(saved)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr
    assert int(re.findall(r"(\d+) with a loss", run.stdout)[0]) > 0
    assert "largest difference of a coefficient: 0.0e+00" in run.stdout

    pipeline: Pipeline = joblib.load(saved)
    encoder, model = pipeline[0], pipeline[1]
    files = sorted(folder.glob("*.parquet"))
    seen = pd.concat(map(pd.read_parquet, files[:-1]))
    late = seen.pop("delay") > 15
    # what workers have found, a partition at a time, is what scikit-learn finds in all rows
    parts = [("one-hot", clone(encoder.named_transformers_["one-hot"]), encoder.transformers[0][2])]
    parts[0][1].set_params(categories="auto")
    there = ColumnTransformer([*parts, encoder.transformers[1]], sparse_threshold=1.0).fit(seen)
    assert list(there.get_feature_names_out()) == list(encoder.get_feature_names_out())
    X = there.transform(seen)
    assert (encoder.transform(seen) != X).nnz == 0

    def value(of: LogisticRegression) -> float:
        margins = np.where(late, 1.0, -1.0) * of.decision_function(X)
        return float(np.logaddexp(0.0, -margins).sum() + 0.5 * (of.coef_**2).sum())

    twin = LogisticRegression(tol=1e-8, max_iter=5000).fit(X, late)
    assert value(model) <= value(twin) * (1 + 1e-4)

    # a word that nobody has seen is in no column; skops loads what it knows to be harmless
    unseen = pd.read_parquet(files[-1]).drop(columns="delay").head(20)
    unseen.loc[0, "carrier"] = "new"
    again = skops.io.loads(skops.io.dumps(pipeline), trusted=[])
    assert_allclose(again.predict_proba(unseen), pipeline.predict_proba(unseen))
