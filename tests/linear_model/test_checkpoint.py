"""Checkpoints of fits in this process: going on, refusing what differs, full disks."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from dask_gradcode import CodedLogisticRegression
from dask_gradcode.checkpoint import Checkpoint
from helpers import logistic_data

X, Y = logistic_data(300, 4)


def fit(path: Any, X: Any = X, y: Any = Y, **parameters: Any) -> CodedLogisticRegression:
    parameters = {"solver": "nesterov", "tol": 1e-6, "max_iter": 500, **parameters}
    return CodedLogisticRegression(checkpoint=path, checkpoint_every=3, **parameters).fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["nesterov", "gradient-descent", "lbfgs"])
def test_a_fit_that_ended_early_goes_on(tmp_path: Path, solver: str) -> None:
    whole = fit(None, solver=solver)
    first = fit(tmp_path, solver=solver, max_iter=5)
    rest = fit(tmp_path, solver=solver)
    assert first.n_iter_[0] == 5
    if solver == "lbfgs":
        assert_allclose(rest.coef_, whole.coef_, atol=1e-5)
    else:
        assert rest.coef_.tobytes() == whole.coef_.tobytes()
        assert rest.intercept_.tobytes() == whole.intercept_.tobytes()
        assert rest.n_iter_ == whole.n_iter_
        assert len(first.history_) + len(rest.history_) == len(whole.history_)
    assert {path.suffix for path in tmp_path.iterdir()} == {".npz", ".json"}
    again = fit(tmp_path, solver=solver)
    assert again.coef_.tobytes() == rest.coef_.tobytes() or solver == "lbfgs"


@pytest.mark.parametrize("below", [".", "deeper/still"])
def test_a_checkpoint_that_cannot_be_a_directory_is_told_the_file(
    tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        NotADirectoryError, match=r"^checkpoint must be a dir.*/file' is a file\. Us"
    ):
        fit(tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "mine"


swapped = X.copy()
swapped[[3, 200]] = X[[200, 3]]
OTHERS = {
    "C": ({"C": 2.0}, "C: 1.0 in the checkpoint, 2.0 now"),
    "solver": ({"solver": "gradient-descent"}, "solver: Nesterov.* now"),
    "class_weight": ({"class_weight": "balanced"}, "class_weight: None in"),
    "a value": ({"X": X + np.eye(300, 4)}, "sums over X"),
    "two rows": ({"X": swapped}, "sums over X"),
    "a feature": ({"X": X[:, :3]}, "number of features: 4 in the checkpoint, 3 now"),
    "rows": ({"X": X[:299], "y": Y[:299]}, "number of rows: 300 in the checkpoint, 299 now"),
    "labels": ({"y": Y + 1}, r"labels: \[0, 1\] in the checkpoint, \[1, 2\] now"),
    "order of labels": ({"y": np.roll(Y, 1)}, "sums over y"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_fit_is_refused_with_what_differs(tmp_path: Path, name: str) -> None:
    fit(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other, text = OTHERS[name]
    with pytest.raises(ValueError, match=rf"(?s)is of another fit:.*{text}"):
        fit(tmp_path, **other)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_something_else_in_the_directory_is_refused(tmp_path: Path) -> None:
    fit(tmp_path)
    index = tmp_path / "checkpoint.json"
    (arrays,) = tmp_path.glob("*.npz")
    arrays.write_bytes(arrays.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"npz' cannot be read as part of a checkpoint"):
        fit(tmp_path)
    index.write_text(json.dumps({**json.loads(index.read_text()), "version": 99}))
    with pytest.raises(ValueError, match="of version 99"):
        fit(tmp_path)
    index.write_text("{")
    with pytest.raises(ValueError, match=r"json' cannot be read as part of a checkpoint"):
        fit(tmp_path)


def test_two_fits_at_once_do_not_share_a_directory(tmp_path: Path) -> None:
    with Checkpoint(tmp_path), pytest.raises(RuntimeError, match="Another fit that is running"):
        fit(tmp_path)
    fit(tmp_path)


def test_a_crash_between_any_two_steps_of_a_save_leaves_the_older_state(tmp_path: Path) -> None:
    class Crash(BaseException):
        pass

    for step in range(1, 100):
        directory = tmp_path / str(step)
        with Checkpoint(directory) as checkpoint:
            checkpoint.begin({})
            checkpoint.save({"n_iter": 1, "w": np.ones(3)})
        n_calls = 0

        def crash(event: str, arguments: Any, step: int = step, armed: Any = directory) -> None:
            nonlocal n_calls
            if event in ("open", "os.rename", "os.remove") and str(armed) in str(arguments[0]):
                n_calls += 1
                if n_calls == step:
                    raise Crash

        auditors.append(crash)
        try:
            with Checkpoint(directory) as checkpoint:
                checkpoint.save({"n_iter": 2, "w": np.zeros(3)})
        except Crash:
            crashed = True
        else:
            crashed = False
        finally:
            auditors.clear()
        with Checkpoint(directory) as checkpoint:
            state = checkpoint.begin({})
        assert (state["n_iter"], state["w"].tolist()) in [(1, [1.0] * 3), (2, [0.0] * 3)]
        if not crashed:
            assert step > 4
            return
    raise AssertionError("it never came to the end")


auditors: list[Any] = []
sys.addaudithook(lambda event, arguments: [auditor(event, arguments) for auditor in auditors])


def test_a_full_disk_is_one_warning_and_the_older_state_stays(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system needs root: {mounted.stderr.decode()}")
    try:
        with pytest.warns(ConvergenceWarning):
            fit(tmp_path / "fit", max_iter=4)
        older = json.loads((tmp_path / "fit" / "checkpoint.json").read_text())
        while (room := os.statvfs(tmp_path)).f_bavail:
            with (tmp_path / "ballast").open("ab") as file:
                file.write(bytes(room.f_bsize))
        with pytest.warns(UserWarning, match="cannot be written: .*No space left") as caught:
            model = fit(tmp_path / "fit")
        assert len(caught) == 1
        assert model.coef_.tobytes() == fit(None).coef_.tobytes()
        assert json.loads((tmp_path / "fit" / "checkpoint.json").read_text()) == older
        (tmp_path / "ballast").unlink()
        assert fit(tmp_path / "fit").coef_.tobytes() == model.coef_.tobytes()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_limit_of_file_size_is_a_warning(tmp_path: Path) -> None:
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.warns(UserWarning, match="cannot be written") as caught:
            model = fit(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(caught) == 1
    assert model.coef_.tobytes() == fit(None).coef_.tobytes()
    assert list(tmp_path.iterdir()) == []


SCRIPT = textwrap.dedent(
    """
    import contextlib, os, signal, sys
    import numpy as np
    sys.path.insert(0, {tests!r})
    from dask_gradcode import CodedLogisticRegression
    from helpers import logistic_data
    X, y = logistic_data(300, 4)
    model = CodedLogisticRegression(
        solver="nesterov", tol=1e-6, max_iter=500, checkpoint={path!r}, checkpoint_every=3
    )
    def report(n_iter, w, seen):
        if n_iter == 10:
            os.kill(os.getpid(), signal.{signal})
    model._reporter = lambda: contextlib.nullcontext(report)
    try:
        model.fit(X, y)
    except KeyboardInterrupt:
        print(model.n_iter_[0], model.coef_.tobytes().hex())
    """
)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_a_killed_or_interrupted_script_goes_on(tmp_path: Path, name: str) -> None:
    tests = str(Path(__file__).parents[1])
    script = SCRIPT.format(tests=tests, path=str(tmp_path), signal=name)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    reached = json.loads((tmp_path / "checkpoint.json").read_text())["scalars"]["n_iter"]
    if name == "SIGKILL":
        assert (done.returncode, reached) == (-signal.SIGKILL, 9)
    else:
        assert done.returncode == 0, done.stderr
        n_iter, coef = done.stdout.split()
        assert int(n_iter) == reached == 10
        assert len(bytes.fromhex(coef)) == 4 * 8
    whole, rest = fit(None), fit(tmp_path)
    assert rest.coef_.tobytes() == whole.coef_.tobytes()
    assert rest.n_iter_ == whole.n_iter_
    assert os.listdir(tmp_path)
