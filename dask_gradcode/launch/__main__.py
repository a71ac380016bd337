"""``python -m dask_gradcode.launch`` is ``dask-gradcode``."""

from dask_gradcode.launch.cli import main

main(prog_name="dask-gradcode")
