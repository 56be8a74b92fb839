"""All on-demand layers together keep no more than one bound of memory."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from napari_superres.plugin import cell_cache
from napari_superres.plugin.cell_cache import LEAST, CellCache, bytes_kept, keep_at_most
from napari_superres.plugin.cells import Cell


def cell(i: int) -> Cell:
    """Return the cell number `i`."""
    return Cell((), 0, i)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything together keep 20 cells of 100 bytes, beside what other tests left."""
    gc.collect()
    monkeypatch.setattr(cell_cache, "_most", bytes_kept() + 2000)


PIXELS = np.zeros(100, np.uint8)


def test_what_was_used_longest_ago_goes_first_whichever_layer_it_is_of(small: None) -> None:
    """A layer that one has left must make room for the one that one looks at."""
    before = bytes_kept()
    left, looked_at = CellCache(), CellCache()
    for i in range(15):
        left.put(cell(i), PIXELS)
    assert left.get(cell(0)) is PIXELS  # so that it is used now
    for i in range(10):
        looked_at.put(cell(i), PIXELS)
    assert bytes_kept() - before <= 2000
    assert len(looked_at) == 10
    assert len(left) == 10
    assert left.get(cell(0)) is PIXELS
    assert left.get(cell(1)) is None


def test_many_layers_stay_within_the_bound_of_one(small: None) -> None:
    """Ten layers must not keep ten times as much as one."""
    before = bytes_kept()
    caches = [CellCache() for _ in range(5)]
    for i in range(20):
        for cache in caches:
            cache.put(cell(i), PIXELS)
            assert bytes_kept() - before <= 2000
    assert all(len(cache) == LEAST for cache in caches)


def test_a_layer_that_is_gone_leaves_its_room(small: None) -> None:
    """A removed layer must not keep a gigabyte until napari is closed."""
    before = bytes_kept()
    cache = CellCache()
    cache.put(cell(0), PIXELS)
    assert bytes_kept() == before + 100
    del cache
    gc.collect()
    assert bytes_kept() <= before


def test_replacing_a_cell_counts_once() -> None:
    """Bytes that are counted twice make the bound smaller with each refresh."""
    before = bytes_kept()
    cache = CellCache()
    for _ in range(3):
        cache.put(cell(0), PIXELS)
    assert bytes_kept() - before == 100


def test_a_smaller_bound_holds_at_once(small: None) -> None:
    """Who lowers it does so because memory is needed now."""
    before = bytes_kept()
    cache = CellCache()
    for i in range(20):
        cache.put(cell(i), PIXELS)
    keep_at_most(before + 600)
    assert len(cache) == 6
    assert cache.get(cell(19)) is PIXELS
