"""The HTML card of a code: B as it is, the numbers, and nothing that a name could break."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import pytest

from code_lists import FEW
from dask_gradcode.codes import (
    CyclicRepetition,
    FractionalRepetition,
    GradientCode,
    PartialStragglers,
)
from dask_gradcode.codes.card import holders
from dask_gradcode.html import ranges
from helpers import OwnThenNext


def parsed(html: str) -> ElementTree.Element:
    """Read a card strictly: every tag closed, every special character escaped."""
    return ElementTree.fromstring(html)


def cells(html: str) -> list[ElementTree.Element]:
    return [rect for rect in parsed(html).iter("rect") if rect.get("class") == "cell"]


def fact(html: str, name: str) -> str:
    for row in parsed(html).iter("tr"):
        head, value = list(row)[:2]
        if head.text == name:
            return "".join(value.itertext())
    raise KeyError(name)


@pytest.mark.parametrize("code", [code for code in FEW if not code.divides], ids=repr)
def test_the_coloured_cells_are_the_non_zeros_of_b(code: GradientCode) -> None:
    html = code._repr_html_()
    drawn = cells(html)
    side = float(drawn[0].get("width", ""))
    where = {
        (round(float(cell.get("y", "")) / side), round(float(cell.get("x", "")) / side))
        for cell in drawn
    }
    matrix = code.encoding_matrix.reshape(len(code.messages), code.resolution, code.n_blocks)
    assert where == set(zip(*map(list, np.nonzero(matrix.any(axis=1))), strict=True))
    assert len(where) == len(drawn)


@pytest.mark.parametrize("code", [code for code in FEW if code.divides], ids=repr)
def test_of_a_code_that_divides_the_work_the_cells_are_who_holds_what(code: GradientCode) -> None:
    drawn = cells(code._repr_html_())
    side = float(drawn[0].get("width", ""))
    strength = {
        (round(float(cell.get("y", "")) / side), round(float(cell.get("x", "")) / side)): float(
            cell.get("fill-opacity", "")
        )
        for cell in drawn
    }
    assert strength.keys() == {(w, b) for b, held in enumerate(code.holders) for w in held}
    own = {where for where, opacity in strength.items() if opacity == 1.0}
    first = {w: code.messages[code.first(w)[0]].blocks for w in range(code.n_workers)}
    assert own == {(worker, block) for worker, blocks in first.items() for block in blocks}


def test_colours_are_signs_and_what_only_one_worker_holds() -> None:
    code = PartialStragglers(CyclicRepetition(6, 1), 3)
    matrix = code.encoding_matrix
    n_holders = np.array([*map(len, code.holders)])
    fills = [cell.get("fill") for cell in cells(code._repr_html_())]
    shared = matrix[:, n_holders > 1]
    assert sorted(fills.count(colour) for colour in set(fills)) == sorted(
        [(n_holders == 1).sum(), (shared > 0).sum(), (shared < 0).sum()]
    )


def test_a_larger_coefficient_is_not_fainter() -> None:
    code = CyclicRepetition(8, 2)
    drawn = cells(code._repr_html_())
    values = [abs(float(cell[0].text.rsplit(": ")[1])) for cell in drawn if cell[0].text]
    opacity = [float(cell.get("fill-opacity", "")) for cell in drawn]
    assert len(set(opacity)) > 3
    assert (np.diff(np.array(opacity)[np.argsort(values)]) >= 0).all()


def test_a_cell_says_who_holds_what() -> None:
    texts = [cell[0].text for cell in cells(FractionalRepetition(4, 1)._repr_html_())]
    assert texts[:2] == ["workers 0, 1, block 0: 1", "workers 0, 1, block 1: 1"]
    assert texts[-1] == "workers 2, 3, block 3: 1"


def test_the_numbers_are_the_codes() -> None:
    html = CyclicRepetition(8, 2)._repr_html_()
    assert fact(html, "workers (n)") == "8"
    assert fact(html, "stragglers (s)") == "2"
    assert fact(html, "blocks") == "8"
    assert fact(html, "load") == "0.375 of the data (3 of 8 blocks a worker)"
    assert fact(html, "Python") == "CyclicRepetition(n_workers=8, n_stragglers=2, seed=0)"


def test_a_partial_code_says_that_it_tolerates_no_dead_worker() -> None:
    html = PartialStragglers(FractionalRepetition(4, 1), 2)._repr_html_()
    assert fact(html, "tolerates") == "1 slow worker(s), no dead one"
    assert fact(html, "messages a round") == "6"


def rows(html: str) -> list[tuple[str, ...]]:
    body = parsed(f"<div>{html}</div>").iter("tbody")
    return [tuple("".join(cell.itertext()) for cell in row) for row in next(body)]


def test_workers_with_the_same_blocks_share_a_row() -> None:
    assert rows(holders(FractionalRepetition(6, 2))) == [("0-2", "0-2"), ("3-5", "3-5")]
    assert rows(holders(PartialStragglers(FractionalRepetition(2, 1), 2))) == [
        ("0", "0, 1, 4, 5"),
        ("1", "2-5"),
    ]


def test_a_code_of_a_thousand_workers_is_a_picture_of_squares() -> None:
    for code in (FractionalRepetition(1000, 9), CyclicRepetition(1000, 4)):
        html = code._repr_html_()
        assert len(html) < 60_000
        counted = sum(int(str(cell[0].text).rsplit(": ")[1].split()[0]) for cell in cells(html))
        assert counted == sum(len(message.blocks) for message in code.messages)
    table = rows(holders(CyclicRepetition(1000, 4)))
    assert len(table) == 32
    assert table[-1] == ("999", "0-3, 999")
    assert "969 rows are left out." in html


@dataclass(frozen=True)
class Hostile(OwnThenNext):
    name: str = "</svg><script>alert('&')</script>"

    @property
    def tolerance(self) -> str:
        return "<b>&"


def test_names_are_escaped() -> None:
    html = Hostile(3)._repr_html_()
    assert "<script" not in html
    assert fact(html, "tolerates") == "<b>&"
    assert Hostile(3).name in fact(html, "Python")


def test_html_needs_nothing_from_elsewhere() -> None:
    html = CyclicRepetition(8, 2)._repr_html_()
    for outside in ("http", "src=", "href=", "url(", "@import", "<script"):
        assert outside not in html


def test_every_message_names_its_worker_where_there_is_room() -> None:
    code = PartialStragglers(FractionalRepetition(6, 1), 6)  # more blocks than their numbers fit
    texts = list(parsed(code._repr_html_()).iter("text"))
    named = [text.text for text in texts if text.get("text-anchor") == "end"]
    assert named == [ranges(code.senders(index)) for index in range(len(code.messages))]
    assert len(texts) - len(named) < code.n_blocks
