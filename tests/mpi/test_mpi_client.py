"""``mpi_client`` in a script that ``mpirun`` starts on every rank."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from launched import SCRIPTS, by_mpirun, kill, needs_mpi

EXAMPLE = Path(__file__).parents[2] / "examples/mpi/in_script.py"

pytestmark = [*needs_mpi, pytest.mark.timeout(240)]


def test_the_script_runs_on_one_rank_and_says_nothing_but_its_own() -> None:
    with by_mpirun(SCRIPTS, "inside", "go") as job:
        assert len(job.hear()) == len(job.hear()) == 2
        assert job.hear() == 45
        assert job.hear() == "after"
        assert job.wait() == 0
        assert job.read() == ""
        assert job.errors() == ""


def test_the_example_says_one_line() -> None:
    with by_mpirun(EXAMPLE, n=6) as job:  # it does not import distributed before mpi_client does
        assert job.read().startswith("FractionalRepetition(n_workers=4, n_stragglers=1): accuracy ")
        assert job.wait() == 0
        assert job.read() == ""
        assert job.errors() == ""


@pytest.mark.parametrize(("how", "code"), [("exit 7", 7), ("raise", 1)])
def test_the_exit_code_is_the_scripts(how: str, code: int) -> None:
    with by_mpirun(SCRIPTS, "inside", *how.split()) as job:
        assert job.wait() == code
        assert ("ValueError: a bug of the user's" in job.errors()) == (code == 1)


def test_the_job_ends_with_a_frozen_worker_as_it_does_without(tmp_path: Path) -> None:
    with by_mpirun(gated(tmp_path, grace=60)) as job:
        workers, _ranks = job.hear(), job.hear()
        kill(workers[0], signal.SIGSTOP)
        (tmp_path / "gate").touch()
        assert job.hear() == "after"
        assert job.wait() == 0
        assert job.errors() == ""


def test_the_job_is_aborted_where_a_rank_is_frozen(tmp_path: Path) -> None:
    with by_mpirun(gated(tmp_path, grace=5)) as job:
        _workers, ranks = job.hear(), job.hear()
        kill(ranks[0], signal.SIGSTOP)
        (tmp_path / "gate").touch()
        assert job.hear() == "after"
        assert job.wait() == 0
        assert "have not ended and the job is aborted" in job.errors()


def gated(tmp_path: Path, grace: float) -> Path:
    """Return a script that goes on when there is a file ``gate`` beside it."""
    script = tmp_path / "gated.py"
    script.write_text(
        "import json, os, pathlib\n"
        "from dask_gradcode.launch import mpi_client\n"
        "def main():\n"
        f"    with mpi_client(grace={grace}) as client:\n"
        "        for function in (os.getpid, os.getppid):\n"
        "            print(json.dumps(list(client.run(function).values())), flush=True)\n"
        f"        while not pathlib.Path({str(tmp_path / 'gate')!r}).exists():\n"
        "            pass\n"
        "    print(json.dumps('after'), flush=True)\n"
        "if __name__ == '__main__':\n"
        "    main()\n"
    )
    return script


def test_a_missing_main_guard_is_an_error_and_no_hang(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from dask_gradcode.launch import mpi_client\nwith mpi_client():\n    print('ran')\n"
    )
    with by_mpirun(script) as job:
        assert job.wait() != 0
        assert 'under `if __name__ == "__main__":`' in job.errors()
        assert job.read() == ""


def test_too_few_ranks_are_an_error() -> None:
    with by_mpirun(SCRIPTS, "inside", "go", n=2) as job:
        assert job.wait() == 1
        assert "mpi_client needs 3 MPI ranks or more" in job.errors()
