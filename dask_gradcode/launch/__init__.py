"""Clusters over MPI: a launcher that survives the death of ranks, and one for scripts.

It yields a Dask client and knows nothing of what is trained on it.
"""

from dask_gradcode.launch.in_script import mpi_client

__all__ = ["mpi_client"]
