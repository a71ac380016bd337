"""The paper's data set: Amazon employee access, as one-hot features of columns and their pairs."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, hstack
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

# Pairs of columns that say the same thing twice.
LEFT_OUT = {("ROLE_TITLE", "ROLE_FAMILY"), ("ROLE_ROLLUP_1", "ROLE_ROLLUP_2")}


def load(path: str | Path) -> tuple[csr_array, csr_array, np.ndarray, np.ndarray]:
    """Return the paper's features: 9 columns, 34 of their pairs, one-hot, and a constant.

    Parameters
    ----------
    path : str or Path
        ``train.csv`` of the Kaggle competition "Amazon.com - Employee Access Challenge".

    Returns
    -------
    X_train, X_test : csr_array of shape (n_samples, 241915)
        Four fifths of the rows, and the rest.
    y_train, y_test : ndarray of shape (n_samples,)
        Whether access was granted.
    """
    with open(path) as file:
        names = file.readline().strip().split(",")
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)
    columns = dict(zip(names, table.T, strict=True))
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
