"""The newest state of one fit, in a directory: whole at any moment, and never of another fit.

``checkpoint.json`` says what it is, of which fit, and which ``state-<iteration>.npz`` beside it
holds the arrays. Both are written under another name, synced and then renamed, the arrays first: a
crash at any moment leaves the older state whole.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dask_gradcode.fingerprint import Moments

__all__ = ["Checkpoint", "Fact"]

logger = logging.getLogger("dask_gradcode")

Fact = str | Moments
"""Something that must be the same when a fit is resumed."""

FORMAT = "dask_gradcode checkpoint"
VERSION = 2  # 1 held points in the coordinates of the model
_INDEX = "checkpoint.json"


class Checkpoint:
    """A directory with the newest state of one fit, and the lock on it while a fit uses it.

    Parameters
    ----------
    directory : str or path-like
        Where; it is made if need be.

    Attributes
    ----------
    n_iter : int or None
        The iteration of the state in the directory.

    Examples
    --------
    >>> import tempfile
    >>> directory = tempfile.mkdtemp()
    >>> with Checkpoint(directory) as checkpoint:
    ...     checkpoint.begin({"C": "1.0"})
    ...     checkpoint.save({"n_iter": 20, "w": np.ones(2)})
    {}
    >>> with Checkpoint(directory) as checkpoint:
    ...     checkpoint.begin({"C": "1.0"})
    {'n_iter': 20, 'w': array([1., 1.])}
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.path = Path(directory)
        self.n_iter: int | None = None
        self._facts: dict[str, Fact] = {}
        self._warned = False

    def __enter__(self) -> Checkpoint:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            file = next(path for path in (self.path, *self.path.parents) if path.exists())
            raise NotADirectoryError(
                f"checkpoint must be a directory, or a path where one can be made, got "
                f"{str(self.path)!r}, and {str(file)!r} is a file. Use another path."
            ) from None
        self._directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._directory)
            raise RuntimeError(
                f"Another fit that is running uses the checkpoint {str(self.path)!r}. Use a "
                "directory for each fit."
            ) from None
        except OSError:
            pass  # a file system without locks
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._directory)

    def check(self, facts: Mapping[str, Fact]) -> None:
        """Compare what a fit is with what was saved, as far as that is known already.

        Parameters
        ----------
        facts : mapping of str to str or Moments
            What must be the same. The facts of several calls add up.

        Raises
        ------
        ValueError
            If the directory holds the state of a fit that differs, with what differs, or something
            that cannot be read.
        """
        self._facts |= facts
        if not (self.path / _INDEX).exists():
            return
        saved = {
            name: Moments(**fact) if isinstance(fact, dict) else fact
            for name, fact in self._read_index()["facts"].items()
        }
        differ = [
            f"  {name}: {saved.get(name, 'nothing')} in the checkpoint, {fact} now"
            for name, fact in facts.items()
            if not _same(saved.get(name), fact)
        ]
        if differ:
            raise ValueError(
                f"The checkpoint {str(self.path)!r} is of another fit:\n"
                + "\n".join(differ)
                + "\nUse another directory, or remove this one to begin anew."
            )

    def begin(self, facts: Mapping[str, Fact]) -> dict[str, Any]:
        """Compare the rest, and return the state to go on from: empty if there is none yet.

        Parameters
        ----------
        facts : mapping of str to str or Moments
            As for ``check``.

        Raises
        ------
        ValueError
            As in ``check``.
        """
        self.check(facts)
        if not (self.path / _INDEX).exists():
            return {}
        index = self._read_index()
        try:
            # from memory: NumPy leaves a file that is no archive open
            packed = io.BytesIO((self.path / index["arrays"]).read_bytes())
            with np.load(packed, allow_pickle=False) as arrays:
                state = index["scalars"] | {name: arrays[name] for name in arrays.files}
        except Exception as error:  # zip, numpy and the file system each have their own
            raise self._damaged(index["arrays"]) from error
        self.n_iter = state["n_iter"]
        logger.info("The checkpoint %s is at iteration %d.", self.path, self.n_iter)
        return dict(state)

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state in the directory.

        Parameters
        ----------
        state : mapping of str to ndarray, int or float
            What an optimizer needs to go on; ``n_iter`` among it.

        Warns
        -----
        UserWarning
            Once, if it cannot be written. What was there before is still there then.
        """
        n_iter = int(state["n_iter"])
        if n_iter == self.n_iter:
            return
        arrays = {name: held for name, held in state.items() if isinstance(held, np.ndarray)}
        index: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "facts": {
                name: asdict(fact) if isinstance(fact, Moments) else fact
                for name, fact in self._facts.items()
            },
            "scalars": {name: held for name, held in state.items() if name not in arrays},
            "arrays": f"state-{n_iter:08d}.npz",
        }
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **arrays)
        try:
            self._write(index["arrays"], packed.getvalue())
            self._write(_INDEX, (json.dumps(index, indent=1) + "\n").encode())
            for old in self.path.glob("state-*.npz"):
                if old.name != index["arrays"]:
                    old.unlink(missing_ok=True)
        except OSError as error:
            if not self._warned:
                self._warned = True
                self._warn(error)
            return
        self.n_iter = n_iter

    def discard(self) -> None:
        """Forget the state in the directory, as it is of no use: something in it is wrong."""
        self.n_iter = None
        for file in (self.path / _INDEX, *self.path.glob("state-*.npz")):
            file.unlink(missing_ok=True)

    def _warn(self, error: OSError) -> None:
        newest = "nothing" if self.n_iter is None else f"iteration {self.n_iter}"
        warnings.warn(
            f"The checkpoint {str(self.path)!r} cannot be written: {error}. The fit goes on; the "
            f"checkpoint holds {newest}.",
            UserWarning,
            stacklevel=2,
        )

    def _write(self, name: str, content: bytes) -> None:
        """Write a file so that it is there whole or not at all."""
        under = self.path / "unfinished.part"  # one name: a crash leaves at most this one behind
        try:
            with under.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            under.replace(self.path / name)
            os.fsync(self._directory)
        except OSError:
            under.unlink(missing_ok=True)  # on a full disk its room is needed
            raise

    def _read_index(self) -> dict[str, Any]:
        try:
            index = json.loads((self.path / _INDEX).read_text())
            kind, version, _, _ = (index[k] for k in ("format", "version", "facts", "arrays"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(_INDEX) from error
        if (kind, version) != (FORMAT, VERSION):
            raise ValueError(
                f"{str(self.path / _INDEX)!r} is a {kind} of version {version}; this version of "
                f"dask_gradcode reads a {FORMAT} of version {VERSION}. Use another directory."
            )
        return dict(index)

    def _damaged(self, name: str) -> ValueError:
        return ValueError(
            f"{str(self.path / name)!r} cannot be read as part of a checkpoint: it is missing, "
            "damaged or something else. Use another directory, or remove this one to begin anew."
        )


def _same(saved: Fact | None, now: Fact | None) -> bool:
    if isinstance(saved, Moments) and isinstance(now, Moments):
        return saved.matches(now)
    return saved == now
