"""The code by which data is placed, where a user says it by name or not at all."""

from __future__ import annotations

from dask_gradcode.codes import GradientCode, make_code
from dask_gradcode.codes.auto import usual_stragglers

__all__ = ["choose_code"]


def choose_code(
    code: str | GradientCode,
    n_workers: int | None,
    n_stragglers: int | None,
    seed: int | None,
    available: int,
) -> GradientCode:
    """Return the code that a user's parameters stand for.

    Parameters
    ----------
    code : str or GradientCode
        A name, or the code itself.
    n_workers, n_stragglers, seed : int or None
        As given by the user.
    available : int
        How many workers the cluster has: used where ``n_workers`` is None.

    Raises
    ------
    ValueError
        If the parameters contradict each other or fit no code.
    TypeError
        If ``code`` is neither a name nor a code.
    """
    if isinstance(code, GradientCode):
        for name, value in (("n_workers", n_workers), ("n_stragglers", n_stragglers)):
            if value is not None and value != getattr(code, name):
                raise ValueError(
                    f"{name}={value} contradicts code={code!r}. Leave {name} out, or change the "
                    "code."
                )
        return code
    if not isinstance(code, str):
        raise TypeError(f"code must be a name or a GradientCode, got {code!r}.")
    n = available if n_workers is None else n_workers
    if n_stragglers is None:
        n_stragglers = usual_stragglers(code, n)
    return make_code(code, n, n_stragglers, 0 if seed is None else seed)
