"""SciPy's private products that add in place; None where a version of SciPy has them no more.

The public ones allocate an array as large as the result each time, which takes longer than the
product itself. Code that uses these has a public fallback, which tests hold to the same results.
"""

from __future__ import annotations

try:
    from scipy.sparse import _sparsetools as sparsetools
except ImportError:  # pragma: no cover
    sparsetools = None

__all__ = ["sparsetools"]
