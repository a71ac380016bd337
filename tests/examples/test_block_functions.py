"""The examples with functions of one's own run as a user runs them, and lose nothing."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import check_grad

from dask_gradcode.typing import Vector
from dask_gradcode.work import Block

EXAMPLES = Path(__file__).parents[2] / "examples"


def said_by(script: str) -> str:
    command = [sys.executable, str(EXAMPLES / script)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr
    return run.stdout


def assert_nothing_was_lost(said: str) -> None:
    iterations = re.findall(r"(\d+) iterations, (\d+) rounds, (\d+) with a loss", said)
    (undisturbed, killed) = iterations
    assert undisturbed[:2] == killed[:2]
    assert int(undisturbed[2]) == 0
    assert int(killed[2]) > 0
    assert float(re.findall(r"test accuracy: (\S+)", said)[0]) > 0.9
    assert "largest difference of a parameter: 0.0e+00" in said


@pytest.mark.cluster
def test_the_numpy_network_is_trained_to_the_same_bits_although_a_worker_is_killed() -> None:
    assert_nothing_was_lost(said_by("block_function.py"))


@pytest.mark.cluster
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_the_torch_model_is_trained_to_the_same_bits_although_a_worker_is_killed() -> None:
    assert_nothing_was_lost(said_by("block_function_torch.py"))


def test_the_networks_gradient_is_that_of_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import block_function

    rng = np.random.default_rng(0)
    block = Block(rng.normal(size=(7, 64)), rng.integers(0, 10, 7).astype(float))
    w: Vector = rng.normal(size=sum(block_function.SIZES))
    error = check_grad(
        lambda w: block_function.network(w, block)[0],
        lambda w: block_function.network(w, block)[1],
        w,
    )
    assert error < 1e-4
