"""An on-demand level answers at once, and ends up with the result's own pixels."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from dask.callbacks import Callback

from napari_superres.errors import Cancelled, ResourceError, WeightsError
from napari_superres.image import Image
from napari_superres.plugin import cell_cache
from napari_superres.plugin.progressive import ProgressiveLevel, for_viewing
from napari_superres.plugin.tile_queue import TileQueue
from napari_superres.progress import tick
from napari_superres.upscaled_array import UpscaledArray
from napari_superres.upscaling import plan_for, planned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.plugin.conftest import Engine

SCREEN = (slice(None), slice(300, 1500, 1), slice(100, 1200, 1))
"""How napari asks for what is on the screen: it names the step of the axes that it shows."""


@pytest.fixture
def queue() -> Iterator[TileQueue]:
    """Return a queue of one thread."""
    queue = TileQueue(1)
    yield queue
    queue.close()


def source(axes: str = "zyx", shape: tuple[int, ...] = (3, 400, 500)) -> Image:
    """Return a random stack."""
    rng = np.random.default_rng(1)
    return Image(da.from_array(rng.integers(0, 4000, shape, dtype=np.uint16)), axes)


def level_of(image: Image, queue: TileQueue, **settings: Any) -> ProgressiveLevel:
    """Return the level of an image at x4."""
    plan = plan_for(image, "bicubic", **{"scale": 4, **settings})
    return ProgressiveLevel(planned(image, plan), image, queue)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_screen_shows_the_source_first_and_then_the_results_own_pixels(
    queue: TileQueue,
) -> None:
    """A viewer that waits for a model is frozen; one that shows other pixels lies."""
    image = source()
    level = level_of(image, queue)
    first = np.asarray(level[SCREEN][1])
    repeated = np.kron(np.asarray(image.data[1]), np.ones((4, 4), np.uint16))
    assert np.array_equal(first, repeated[300:1500, 100:1200])
    until(lambda: level.waiting == 0)
    result = np.asarray(level.image.data[1, 300:1500, 100:1200])
    assert np.array_equal(np.asarray(level[SCREEN][1]), result)
    assert level.waiting == 0


def test_everybody_else_gets_true_pixels(queue: TileQueue) -> None:
    """A script that measures on the layer must never measure on what only fills the screen."""
    level = level_of(source(), queue)
    whole = level.image.data
    for key in (
        (1, slice(300, 420), slice(100, 190)),
        (slice(0, 2), slice(0, 40, 3), 7),
        (-1, slice(40, 20, -1), slice(10, 30)),
        (..., 5, slice(2, 9)),
    ):
        assert np.array_equal(np.asarray(level[key]), whole[key].compute())
    small = level_of(source("yx", (9, 11)), queue)
    assert np.array_equal(np.asarray(small), small.image.data.compute())


def test_a_whole_stack_is_not_computed_by_mistake(queue: TileQueue) -> None:
    """Another plugin's numpy.asarray(layer.data[0]) would freeze the viewer for hours."""
    level = level_of(Image(da.zeros((900, 400, 500), np.uint8), "zyx"), queue)
    with pytest.raises(ResourceError, match="computed where it is looked at"):
        np.asarray(level)


def test_pictures_and_other_orders_of_axes_work_the_same(queue: TileQueue) -> None:
    """RGB, and stacks whose y and x do not come last."""
    for axes, shape, key in (
        ("yxs", (300, 200, 3), (slice(100, 900, 1), slice(0, 700, 1), slice(None))),
        ("yzx", (300, 3, 200), (slice(100, 900, 1), slice(None), slice(0, 700, 1))),
    ):
        level = level_of(source(axes, shape), queue)
        np.asarray(level[key])
        until(lambda level=level: level.waiting == 0)
        assert np.array_equal(np.asarray(level[key]), level.image.data[key].compute())


def test_the_source_is_read_once_for_a_view(
    queue: TileQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tile that comes redraws the view, which must not wait for the disk again."""
    reads: list[Any] = []
    read = UpscaledArray._read

    def counted(*args: Any, **kwargs: Any) -> np.ndarray:
        if threading.current_thread() is threading.main_thread():
            reads.append(args)
        return read(*args, **kwargs)

    monkeypatch.setattr(UpscaledArray, "_read", counted)
    level = level_of(source(), queue)
    first = np.asarray(level[SCREEN][1])
    before = first.copy()
    first[:] = 0  # whoever was given pixels may write into them
    until(lambda: level.waiting == 0)
    assert np.corrcoef(np.asarray(level[SCREEN][1]).flat, before.flat)[0, 1] > 0.8
    assert len(reads) == 1
    np.asarray(level[SCREEN][2])
    assert len(reads) == 2
    until(lambda: level.waiting == 0)


def test_caches_of_dask_see_nothing_of_what_is_read(queue: TileQueue) -> None:
    """Napari's keeps up to a quarter of the memory: a walk through a large image filled it."""
    seen: list[Any] = []
    with Callback(posttask=lambda key, *_: seen.append(key)):
        level = level_of(source(), queue)
        np.asarray(level[SCREEN][1])
        until(lambda: level.waiting == 0)
    assert level.ready
    assert seen == []


def test_what_the_view_has_left_is_not_computed(queue: TileQueue, engine: Engine) -> None:
    """Scrubbing through a stack must not leave a queue of planes behind."""
    engine.seconds = 0.05
    level = level_of(source(shape=(10, 400, 500)), queue)
    for z in range(10):
        np.asarray(level[SCREEN][z])
    until(lambda: level.waiting == 0)
    cells = len(list(level._grid.touched((slice(9, 10), *SCREEN[1:]))))
    assert cells <= engine.calls <= cells + 3


def test_a_cell_that_is_wanted_again_while_it_is_being_stopped_comes(queue: TileQueue) -> None:
    """One plane on and back: what was on the screen first stayed coarse for ever."""
    level = level_of(source(shape=(2, 64, 64)), queue)
    at_work, stopping, may_end = (threading.Event() for _ in range(3))
    fine = level._fine

    class Slow:
        """Computes as the result does, but is stopped slowly, once, as by a helping thread."""

        def __getitem__(self, key: Any) -> np.ndarray:
            level._fine = fine
            at_work.set()
            try:
                while True:
                    tick(0, 2)
                    time.sleep(0.005)
            except Cancelled:
                stopping.set()
                may_end.wait(20)
                raise

    level._fine = Slow()
    screen = (slice(None), slice(0, 256, 1), slice(0, 256, 1))
    np.asarray(level[screen][0])
    assert at_work.wait(20)
    np.asarray(level[screen][1])
    assert stopping.wait(20)
    np.asarray(level[screen][0])
    may_end.set()
    until(lambda: level.waiting == 0)
    assert level.ready == 1
    assert np.array_equal(np.asarray(level[screen][0]), level.image.data[0].compute())


def test_memory_is_bounded_and_a_view_larger_than_it_comes_to_rest(
    queue: TileQueue, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells that push each other out would be computed again and again."""
    monkeypatch.setattr(cell_cache, "_most", 0)  # the least: four cells
    level = level_of(source(), queue)
    for _ in range(12):  # a viewer asks again after each cell
        np.asarray(level[SCREEN][0])
        until(lambda: level.waiting == 0)
    assert engine.calls == 4
    assert level.ready == 4
    np.asarray(level[SCREEN][1])
    until(lambda: level.waiting == 0)
    assert level.ready == 4
    assert engine.calls == 8


def test_a_cell_that_fails_is_told_and_stops_the_others(queue: TileQueue, engine: Engine) -> None:
    """A model that cannot run would fail for each cell of each view, in silence."""
    engine.error = WeightsError("The weights are gone.")
    level = level_of(source(), queue)
    told: list[Exception] = []
    level.failed = told.append
    shown = np.asarray(level[SCREEN][0])
    until(lambda: bool(told))
    until(lambda: level.waiting == 0)
    assert told == [engine.error]
    assert engine.calls == 1
    engine.error = None
    assert np.array_equal(shown, np.asarray(level[SCREEN][0]))


def test_smaller_tiles_are_taken_only_where_they_change_nothing() -> None:
    """The screen must show the pixels that the file will hold."""
    image = source()
    plan = plan_for(image, "bicubic", scale=4)
    assert for_viewing(plan).step == (128, 128)
    clipped = plan_for(image, "bicubic", scale=4, halo=1)
    assert for_viewing(clipped) is clipped


def test_several_threads_may_ask_at_the_same_time(queue: TileQueue) -> None:
    """With napari's asynchronous slicing, views are asked for from several threads."""
    level = level_of(source(), queue)
    errors: list[Exception] = []

    def look(z: int) -> None:
        try:
            for _ in range(5):
                np.asarray(level[SCREEN][z])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=look, args=(z,)) for z in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
