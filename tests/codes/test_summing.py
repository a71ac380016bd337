from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from code_lists import FEW
from dask_gradcode.codes import (
    FractionalRepetition,
    GradientCode,
)
from dask_gradcode.payloads import slice_of
from dask_gradcode.typing import Part, Payload


def payloads_of(code: GradientCode, parts: bool) -> dict[int, Payload]:
    """The payload of every message; if ``parts``, only the entries that are not zero.

    Of what is sent in slices they are those of the slices.
    """
    rng = np.random.default_rng(0)
    blocks = rng.normal(size=(code.n_blocks, 40)) * (rng.random((code.n_blocks, 40)) < 0.3)
    found: dict[int, Payload] = {}

    def sum_of(index: int) -> Any:
        if children := code.children(index):
            return sum(map(sum_of, children))
        message = code.messages[index]
        pairs = zip(message.blocks, message.coefficients, strict=True)
        return sum(coefficient * blocks[b] for b, coefficient in pairs)

    for index in range(len(code.messages)):
        whole = sum_of(index)
        slices = code.messages[index].slices
        entries = np.flatnonzero(whole).astype(np.int32)
        if not parts or code.mixes:  # those travel with all their entries
            found[index] = slices.carried(slices.of(whole), whole.size)
        else:
            place = slice_of(entries.size, slices.first, slices.n_slices)
            found[index] = Part(whole[entries][place], entries[place], whole.size)
    return found


@pytest.mark.parametrize("code", FEW, ids=repr)
@given(data=st.data())
def test_the_bits_depend_neither_on_the_order_of_arrival_nor_on_what_travels(
    code: GradientCode, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(code.messages))))
    count = data.draw(st.integers(1, len(order)))
    found = set()
    for parts in (False, True):
        payloads = payloads_of(code, parts)
        decoder, total = code.decoder(), code.sum()
        for message in order[:count]:
            decoder.add(message)
            total.add(message, payloads[message])
        decoding = decoder.decode()
        found.add(total.total(decoding).tobytes())
        assert_array_equal(total.total(decoding), code.combine(decoding, payloads))
        exact = decoder.add(order[0])
    # slices of what travels are not the same entries, until all of them are there
    assert len(found) == 1 or (code.resolution > 1 and not exact)


def test_the_sum_is_ready_when_the_last_message_arrives() -> None:
    code = FractionalRepetition(6, 1)
    total, payloads = code.sum(), payloads_of(code, parts=False)
    decoder = code.decoder()
    for message in (1, 0, 2):
        decoder.add(message)
        total.add(message, payloads[message])
    assert not total._answers
    assert_array_equal(total.total(decoder.decode()), payloads[0] + payloads[1] + payloads[2])
