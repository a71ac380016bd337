"""Train on Slurm without MPI: every worker is a Slurm job of its own (dask-jobqueue).

    pip install dask-jobqueue
    python examples/slurm/jobqueue.py

A node that dies takes its own job with it and no other, and Slurm may start workers one by one.
Edit what stands in capitals. Not run on Slurm by us; see README.md beside it.
"""

from __future__ import annotations

from dask_jobqueue import SLURMCluster
from distributed import Client
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

from dask_gradcode import CodedLogisticRegression

N_WORKERS = 9
QUEUE = "compute"
INTERFACE = "ib0"


def main() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    with (
        SLURMCluster(
            queue=QUEUE,
            cores=1,
            processes=1,
            memory="8GB",
            walltime="01:00:00",
            interface=INTERFACE,
            scheduler_options={"dashboard": False, "interface": INTERFACE},
        ) as cluster,
        Client(cluster) as client,
    ):
        cluster.scale(jobs=N_WORKERS)
        client.wait_for_workers(N_WORKERS, timeout=600)
        model = CodedLogisticRegression(n_stragglers=2, n_workers=N_WORKERS, client=client)
        model.fit(scale(X), y)
        print(model.code_, model.score(scale(X), y))


if __name__ == "__main__":
    main()
