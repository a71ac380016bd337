"""Run a script with ``--client ADDRESS``, the address being that of the launch this is part of.

dask-gradcode mpirun -n 6 examples/ec2/with_client.py SCRIPT [ARGUMENTS]
"""

import os
import sys

script = [sys.executable, *sys.argv[1:], "--client", os.environ["DASK_SCHEDULER_ADDRESS"]]
os.execv(sys.executable, script)
