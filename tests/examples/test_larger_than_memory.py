"""The example whose rows are on disk runs as a user runs it, small, and loses nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "larger_than_memory.py"


@pytest.mark.cluster
@pytest.mark.slow
def test_rows_on_disk_give_the_same_bits_although_a_worker_is_killed() -> None:
    command = [sys.executable, str(EXAMPLE), "--times", "0.06", "--workers", "2"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr
    assert "blocks of a worker" in run.stdout
    undisturbed, killed = re.findall(r"(\d+) rounds", run.stdout)
    assert undisturbed == killed
    assert int(re.findall(r"(\d+) with a loss", run.stdout)[0]) > 0
    assert "largest difference of a coefficient: 0.0e+00" in run.stdout
