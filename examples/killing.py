"""A solver that has a process killed on its way, as a machine may die in the middle of a fit."""

from __future__ import annotations

import os
import signal
from typing import Any

import psutil

from dask_gradcode.optimizers import LBFGS


class Killing(LBFGS):
    """L-BFGS that kills a process after its third round."""

    pid: int

    def minimize(self, objective: Any, w0: Any, **options: Any) -> Any:
        n_rounds = 0

        def watched(w: Any) -> Any:
            nonlocal n_rounds
            n_rounds += 1
            if n_rounds == 4:
                process = psutil.Process(self.pid)
                os.kill(self.pid, signal.SIGKILL)
                process.wait()  # a short fit could be over before the system has ended it
            return objective(w)

        return super().minimize(watched, w0, **options)
