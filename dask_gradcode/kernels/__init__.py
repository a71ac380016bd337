"""Passes over rows, on one BLAS thread: what a worker's time is spent on."""

from dask_gradcode.kernels.blas import one_blas_thread
from dask_gradcode.kernels.chunks import RowSource
from dask_gradcode.kernels.gradient import add_value_and_gradient, never
from dask_gradcode.kernels.hessian import add_hessian
from dask_gradcode.kernels.left_out import RidgeModels, add_left_out
from dask_gradcode.kernels.ones import are_ones, folded, is_one_for_all, one_for_all, unfolded
from dask_gradcode.kernels.rows import CHUNK_VALUES, chunk_rows, is_sparse
from dask_gradcode.kernels.runs import runs_of_rows

__all__ = [
    "CHUNK_VALUES",
    "RidgeModels",
    "RowSource",
    "add_hessian",
    "add_left_out",
    "add_value_and_gradient",
    "are_ones",
    "chunk_rows",
    "folded",
    "is_one_for_all",
    "is_sparse",
    "never",
    "one_blas_thread",
    "one_for_all",
    "runs_of_rows",
    "unfolded",
]
