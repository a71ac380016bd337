"""Scripts that the tests launch, by name: python scripts.py NAME."""

from __future__ import annotations

import json
import os
import sys
import time

from distributed import Client

from dask_gradcode.launch import mpi_client


def increment(x: int) -> int:
    return x + 1


def obey() -> None:
    """Do what comes on standard input, a line each, and answer in JSON."""
    with Client() as client:
        for line in sys.stdin:
            what, *rest = line.split()
            if what == "pids":
                say(list(client.run(os.getpid).values()))
            elif what == "count":
                say(len(client.scheduler_info(n_workers=-1)["workers"]))
            elif what == "address":
                say(client.scheduler.address)
            elif what == "sum":
                say(sum(client.gather(client.map(increment, range(9), pure=False))))
            elif what == "raise":
                raise ValueError("a bug of the user's")
            elif what == "exit":
                sys.exit(int(rest[0]))


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


def wait() -> None:
    """Wait for the end, and have the last word."""
    try:
        with Client() as client:
            say(list(client.run(os.getpid).values()))
            while True:
                time.sleep(1)
    finally:
        say("tidied up")


def inside() -> None:
    """Obey on rank 1 of a job that mpirun has started."""
    with mpi_client() as client:
        say(list(client.run(os.getpid).values()))
        say(list(client.run(os.getppid).values()))
        line = " ".join(sys.argv[2:])
        if line.startswith("exit"):
            sys.exit(int(line.split()[1]))
        if line.startswith("raise"):
            raise ValueError("a bug of the user's")
        say(sum(client.gather(client.map(increment, range(9), pure=False))))
    say("after")


if __name__ == "__main__":
    {"obey": obey, "wait": wait, "inside": inside}[sys.argv[1]]()
