"""What was found of sums that are compared: enough to take the same decisions again."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Checks", "Minutes"]


@dataclass
class Minutes:
    """What a verified round began with and has found of the sums that came, without these.

    Parameters
    ----------
    n_faulty : int
        How many workers to each block may be faulty.
    expelled : dict of int to str
        Which roles were expelled when it began, and why.
    given_up : set of int
        Which roles had been waited for in vain.

    Attributes
    ----------
    digests : dict of tuple of int to list of bytes
        By role and message, of what came in full, in order.
    alike : dict of tuple to bool
        Of two roles and their digests, whether they compute the same bits, where these differ.
    close : dict of tuple of bytes to bool
        Of two digests, whether the sums are equal within rounding, where they were compared.
    """

    n_faulty: int
    expelled: dict[int, str]
    given_up: set[int]
    digests: dict[tuple[int, int], list[bytes]] = field(default_factory=dict)
    alike: dict[tuple[int, int, bytes, bytes], bool] = field(default_factory=dict)
    close: dict[tuple[bytes, bytes], bool] = field(default_factory=dict)


@dataclass
class Checks:
    """What a round with sums checked together began with, and what each check has found.

    Parameters
    ----------
    expelled : dict of int to str
        Which roles were expelled when it began, and why.
    given_up : set of int
        Which roles had been waited for in vain.

    Attributes
    ----------
    agreed : list of bool
        Of each check in order, whether all that had come agreed.
    wrong : list of dict of int to str
        Of each check that did not, which roles were found to be wrong, and why.
    """

    expelled: dict[int, str]
    given_up: set[int]
    agreed: list[bool] = field(default_factory=list)
    wrong: list[dict[int, str]] = field(default_factory=list)
