"""Slots and cuts, property-based against lists of integers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smh.errors import ArgumentError, PoolExhaustedError
from smh.index_store import IndexStoreType, make_index_store, plan_cuts

sizes = st.integers(1, 60)
lengths = st.lists(st.integers(0, 70), max_size=8)


@given(sizes, lengths, st.sampled_from(["cyclic", "padding"]))
def test_elements_follow_the_law(size, lengths, kind):
    store, begin = make_index_store(kind, size), 0
    for length in lengths:
        slot = store.allocate(length)
        got = [i for a, b in slot.segments for i in range(a, b)] + [None] * slot.padding
        flat = range(begin, begin + length)
        if kind == "cyclic":
            assert got == [i % size for i in flat]
        else:
            assert got == [i if i < size else None for i in flat]
        begin += length
        assert store.position == (begin % size if kind == "cyclic" else min(begin, size))


@given(sizes, lengths)
def test_basic_slots_are_disjoint_and_in_order_or_an_error(size, lengths):
    store, used = make_index_store(IndexStoreType.basic, size), 0
    for length in lengths:
        if used + length > size:
            with pytest.raises(PoolExhaustedError, match=f"pool_size .* is {used + length:,}"):
                store.allocate(length)
            assert store.position == used
        else:
            slot = store.allocate(length)
            assert slot.segments == (((used, used + length),) if length else ())
            used += length


@given(sizes, lengths, st.sampled_from(["cyclic", "padding"]), st.integers(1, 9))
def test_one_split_serves_all_slots(size, lengths, kind, granularity):
    store = make_index_store(kind, size)
    slots = [store.allocate(length) for length in lengths]
    plan = plan_cuts(slots, size, granularity)
    assert sum(plan.sizes) == plan.stop - plan.start
    assert plan.start % granularity == 0
    assert plan.stop % granularity == 0 or plan.stop == size
    ends = list(itertools.accumulate(plan.sizes, initial=plan.start))
    pieces = [list(range(a, b)) for a, b in itertools.pairwise(ends)]
    for slot, runs in zip(slots, plan.runs, strict=True):
        joined = [i for a, b in runs for piece in pieces[a:b] for i in piece]
        assert joined == [i for a, b in slot.segments for i in range(a, b)]


def test_disjoint_slots_are_one_piece_each():
    store = make_index_store("basic", 100)
    plan = plan_cuts([store.allocate(n) for n in (30, 5, 65)], 100)
    assert plan.sizes == (30, 5, 65)
    assert plan.runs == (((0, 1),), ((1, 2),), ((2, 3),))


def test_unknown_store_and_negative_length():
    with pytest.raises(ArgumentError, match="'basic', 'cyclic', 'padding', got 'round'"):
        make_index_store("round", 4)
    with pytest.raises(ArgumentError, match="at least 0, got -1"):
        make_index_store("basic", 4).allocate(-1)
