"""Train on EC2 without MPI: every worker is an instance of its own (dask-cloudprovider).

    pip install 'dask-cloudprovider[aws]'
    python examples/ec2/ec2cluster.py

Edit what stands in capitals. Not run on EC2 by us; see README.md beside it.
"""

from __future__ import annotations

from dask_cloudprovider.aws import EC2Cluster
from distributed import Client
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

from dask_gradcode import CodedLogisticRegression

N_WORKERS = 6
REGION = "eu-central-1"
INSTANCE_TYPE = "m6i.large"
IMAGE = "YOUR.REGISTRY/gradcode:latest"  # with dask-gradcode, the same versions as here


def main() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    with (
        EC2Cluster(
            n_workers=N_WORKERS,
            region=REGION,
            instance_type=INSTANCE_TYPE,
            docker_image=IMAGE,
            worker_options={"nthreads": 1},
            security=True,  # TLS between all of them
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(N_WORKERS, timeout=900)
        model = CodedLogisticRegression(n_stragglers=2, n_workers=N_WORKERS, client=client)
        model.fit(scale(X), y)
        print(model.code_, model.score(scale(X), y))


if __name__ == "__main__":
    main()
