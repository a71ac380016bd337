"""The paper's data set: Amazon employee access, as one-hot features of columns and their pairs."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, hstack
from sklearn.datasets import fetch_openml
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

# Pairs of columns that say the same thing twice.
LEFT_OUT = {("ROLE_TITLE", "ROLE_FAMILY"), ("ROLE_ROLLUP_1", "ROLE_ROLLUP_2")}


def load(path: str | Path | None) -> tuple[csr_array, csr_array, np.ndarray, np.ndarray]:
    """Return the paper's features: 9 columns, 34 of their pairs, one-hot, and a constant.

    Parameters
    ----------
    path : str, Path or None
        ``train.csv`` of the Kaggle competition "Amazon.com - Employee Access Challenge". None: the
        same table from OpenML, which scikit-learn downloads once and keeps.

    Returns
    -------
    X_train, X_test : csr_array of shape (n_samples, 241915)
        Four fifths of the rows, and the rest.
    y_train, y_test : ndarray of shape (n_samples,)
        Whether access was granted.

    Raises
    ------
    OSError
        If the file cannot be read, or OpenML not be reached.
    """
    columns = _from_openml() if path is None else _from_csv(path)
    y = columns.pop("ACTION")
    pairs = [
        columns[a] * (columns[b].max() + 1) + columns[b]
        for a, b in combinations(columns, 2)
        if (a, b) not in LEFT_OUT
    ]
    everything = np.column_stack([*columns.values(), *pairs])
    one_hot = OneHotEncoder(dtype=np.float64).fit_transform(everything)
    X = csr_array(hstack([one_hot, np.ones((len(y), 1))], format="csr"))
    return train_test_split(X, y, test_size=0.2, random_state=0)


def _from_csv(path: str | Path) -> dict[str, np.ndarray]:
    with open(path) as file:
        names = file.readline().strip().split(",")
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)
    return dict(zip(names, table.T, strict=True))


def _from_openml() -> dict[str, np.ndarray]:
    try:
        found = fetch_openml(
            "Amazon_employee_access", version=1, as_frame=False, parser="liac-arff"
        )
    except OSError as error:  # URLError and the like
        raise OSError(
            f"The data could not be fetched from OpenML ({error}). Download train.csv of Kaggle's "
            '"Amazon.com - Employee Access Challenge" and give its path with --data.'
        ) from error
    columns = {
        name: column.astype(np.int64)
        for name, column in zip(found.feature_names, np.asarray(found.data).T, strict=True)
    }
    return {"ACTION": np.asarray(found.target).astype(np.int64), **columns}
