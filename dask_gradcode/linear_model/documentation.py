"""The part of the estimators' documentation that is the same for all: written once."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import signature
from typing import TypeVar

__all__ = ["documented"]

_Class = TypeVar("_Class", bound=type)

_CODING = """\
    code : {"auto", "declustered", "fractional", "cyclic", "uncoded", ...} or GradientCode, \
            default="auto"
        Which worker holds which blocks. ``"auto"`` is declustered repetition where a round's time
        is computing (by the rule of :func:`dask_gradcode.place`); otherwise fractional repetition
        where ``n_stragglers + 1`` divides ``n_workers``, or cyclic repetition.
    n_stragglers : int, default=None
        How many workers may be silent in a round. None: the code object's, else 1 (0 on a single
        worker). Data and work grow ``n_stragglers + 1`` times.
    n_workers : int, default=None
        How many workers to use. None: the code object's, else all workers of the cluster. Where a
        few of these are missing, others play two roles each until more join, with a warning.
"""

_WAIT = """\
    wait : "exact" or WaitRule, default="exact"
        When a round has enough messages.
"""

_SOLVER = """\
    fit_intercept : bool, default=True
        Whether to fit an intercept for each output.
    solver : {<solvers>} or Optimizer, default="<default>"
        What chooses the points at which rounds are run. It works in coordinates of centred and
        scaled columns, to which points and gradients are mapped; rows stay as they are, and
        penalties act on the original coefficients. ``history_`` and callbacks have the objective
        itself and the gradient in those coordinates, which is the one compared with ``tol``. A fit
        that ends with a larger gradient warns.
"""

_SECOND_ORDER = """\
        ``"newton-cholesky"``, as in scikit-learn, is Newton's method: for up to a few thousand
        parameters (features times outputs; at most 4095: their Hessian takes 64 MiB of each
        message) and many more rows it needs five to ten rounds. Where a Hessian is singular
        ``"lbfgs"`` goes on, with a warning.
"""

_CHOLESKY = """\
        ``"cholesky"``, as in scikit-learn, needs one round. It brings the Gram matrix of the
        columns, with which the client solves the normal equations.
"""

_COORDINATE_DESCENT = """\
        ``"coordinate-descent"``, as in scikit-learn, needs one round. It brings the Gram matrix of
        the columns, on which the client then descends.
"""

_AUTO = """\
        It is for up to a few thousand features (at most 4095: their matrix takes 64 MiB of each
        message). Dense columns far from zero are centred for it, by a shift that is fixed when the
        data is placed. Sparse ones are not, nor are any without an intercept: of a column of mean
        ``m`` and standard deviation ``s`` its matrix loses the digits of ``(m / s)^2``. ``"auto"``
        is ``"<one>"`` where features are so few and few digits are lost (``m / s`` up to 100, and
        up to 30 without an intercept), otherwise ``"<many>"``.
"""

_WARM_START = """\
    warm_start : bool, default=False
        Whether to start from the coefficients of the previous fit.
"""

_SEED = """\
    random_state : int, RandomState or None, default=None
        Seeds the code (cyclic repetition draws a matrix), nothing else.
"""

_PROGRESS = """\
    verbose : int or "bar", default=0
        1 prints a line per iteration: value, gradient, seconds, workers used, late, lost and not
        placed yet.
        ``"bar"`` draws a progress bar in a terminal or a notebook (needs rich). Before that, both
        say how far placing the data has come, as :func:`dask_gradcode.place` does. From
        scikit-learn 1.9 on, ``set_callbacks`` takes scikit-learn's own progress bar and other
        callbacks.
    checkpoint : str or path-like, default=None
        A directory, for this fit alone, where it saves how far it has come. If a fit like this one
        (equal data, code and parameters; ``max_iter`` and ``tol`` may differ) was saved there, this
        one goes on from it: L-BFGS as a warm start, the other solvers bit for bit. ``n_iter_``
        counts all iterations, ``history_`` has the rounds since.
    checkpoint_every : int, default=10
        Iterations between two saves, and the most that are lost when this process, the scheduler or
        the machine dies. The end of a fit, an error and Ctrl-C save, too.
"""

_TRANSPORT = """\
    transport : {"auto", "tasks", "stream"}, default="auto"
        How messages travel; recorded in ``history_.transport``. ``"stream"`` is a connection to
        each worker, ``"tasks"`` a Dask task per message, and ``"auto"`` the stream where this
        process reaches the workers over plain TCP.
"""

_VERIFY = """\
    verify : int, "audit" or "syndrome", default=0
        Whether to look for workers that send wrong sums (silent corruption). Such a worker is
        expelled for the rest of the fit; ``history_.events`` and the log name it.

        - ``b``, a number: how many of the workers that hold the same rows may be faulty. A sum is
          believed once ``b + 1`` of them agree on it, so a round costs ``b + 1`` times the work.
          It needs exact sums and fractional repetition (which ``code="auto"`` then takes) with
          ``n_stragglers`` of ``b`` or more. Only ``n_stragglers - b`` workers may then be silent
          without being waited for. A sum that no worker is left to confirm is taken after
          ``gradcode.timeouts.recover``, and is *unverified* in ``history_.events``.
        - ``"audit"``: beside the rounds, others compute again what one worker after another has
          sent, for ``1 / n_workers`` more work; at the end of the fit they do so for all workers.
          When a wrong sum is found the fit goes back to before the first one. It needs declustered
          repetition (which ``code="auto"`` then takes) or fractional repetition, with
          ``n_stragglers`` of 1 or more. One of the workers that hold the same rows may be faulty.
        - ``"syndrome"``: one answer more than decoding needs shows that some sum is wrong, and two
          more show which. ``WrongSumsError`` is raised where that cannot be told. It needs cyclic
          repetition (which ``code="auto"`` then takes, with ``n_stragglers=2`` by default).
"""

_CLIENT = """\
    client : distributed.Client, Dask cluster or str, default=None
        A client, a cluster such as a ``LocalCluster`` or a scheduler's address. None: the current
        client. Where there is none, data in memory is fitted in this process, uncoded (with a
        warning if parameters ask for a code), and dask data on a ``LocalCluster`` that lives as
        long as the fit. Persisted data must lie on the client's cluster. ``score`` runs on this
        client, too. Clones share the client; pickles do not hold it, and a forked process does not
        inherit one.
"""

_REGRESSION = """\
    coef_ : ndarray of shape (n_features,)
        Coefficients.
    intercept_ : numpy.float64
        Intercept; 0.0 without one.
    n_iter_ : int
        Iterations of the solver.
"""

_TARGETS = """\
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients; of several targets, ``y`` of shape (n_samples, n_targets), a row each. These
        are fitted from one round, in which they ride as further columns of the features; they
        cannot be placed before. Checkpoints, warm starts and callbacks play no part then.
    intercept_ : numpy.float64 or ndarray of shape (n_targets,)
        Intercept; 0.0 without one.
    n_iter_ : int or list of int
        Iterations of the solver; of coordinate descent, for each target if there are several.
"""

_ATTRIBUTES = """\
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Column names, if ``X`` had names that are all strings.
    history_ : History
        What every round did.
    code_ : GradientCode
        The code in use; ``Uncoded(1)`` for a fit in this process.

    Notes
    -----
    Rows of float32 stay float32 on the workers, which halves their memory; each chunk of about a
    thousand of them is computed with in float64, and ``coef_`` is float64. All other numbers become
    float64.
"""


def documented(estimator: _Class) -> _Class:
    """Complete the docstring of an estimator: fill in what all of them share.

    Parameters
    ----------
    estimator : type
        Its docstring has some of the places named below, each on a line of its own.
    """
    text = estimator.__doc__
    solvers: Iterable[str] = estimator._solvers  # type: ignore[attr-defined]
    names = ", ".join(f'"{name}"' for name in sorted(solvers))
    default = getattr(signature(estimator).parameters.get("solver"), "default", "")
    solver = _SOLVER.replace("<solvers>", names).replace("<default>", default)
    if "newton-cholesky" in solvers:
        solver += _SECOND_ORDER
    if "cholesky" in solvers:
        solver += _CHOLESKY + _AUTO.replace("<one>", "cholesky").replace("<many>", "lbfgs")
    if "coordinate-descent" in solvers:
        one = _AUTO.replace("<one>", "coordinate-descent").replace("<many>", "nesterov")
        solver += _COORDINATE_DESCENT + one
    if text is not None:  # python -OO has none
        for place, shared in (
            ("<code parameters>", _CODING + _WAIT),
            ("<coding parameters>", _CODING),
            ("<solver parameters>", solver),
            ("<fit parameters>", _WARM_START + _SEED + _PROGRESS + _TRANSPORT + _VERIFY + _CLIENT),
            ("<running parameters>", _SEED + _TRANSPORT + _VERIFY + _CLIENT),
            ("<regression attributes>", _REGRESSION),
            ("<attributes of targets>", _TARGETS),
            ("<fit attributes>", _ATTRIBUTES),
        ):
            text = text.replace(f"    {place}\n", shared)
        estimator.__doc__ = text
    return estimator
