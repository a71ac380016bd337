"""Train inside a script that ``mpirun`` starts on every rank: dask-mpi's classic way.

    mpirun -n 8 python examples/mpi/in_script.py    # 6 workers, a scheduler, and the script

Start it by ``dask-gradcode mpirun`` (see train.py) where ranks may die or freeze.
"""

from __future__ import annotations

from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

from dask_gradcode import CodedLogisticRegression
from dask_gradcode.launch import mpi_client


def main() -> None:
    with mpi_client():
        X, y = load_breast_cancer(return_X_y=True)
        X = scale(X)
        model = CodedLogisticRegression(n_stragglers=1).fit(X, y)
        print(f"{model.code_}: accuracy {model.score(X, y):.4f} after {len(model.history_)} rounds")


if __name__ == "__main__":  # nannies import this file in new processes
    main()
