"""SciPy's private products that add in place; None where a version of SciPy has them no more.

The public ones allocate a vector as long as the result each time, which takes longer than the
product itself. Whoever uses them has a public fallback, which tests hold to the same results.
"""

from __future__ import annotations

try:
    from scipy.sparse._sparsetools import csc_matvec, csr_matvec
except ImportError:  # pragma: no cover
    csc_matvec = csr_matvec = None

__all__ = ["csc_matvec", "csr_matvec"]
