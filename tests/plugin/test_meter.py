"""The line about progress is honest."""

from __future__ import annotations

from napari_superres.plugin.meter import Meter, duration


class Clock:
    """Seconds, set by hand."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_line_says_what_is_done_how_fast_and_how_long_it_takes() -> None:
    """The one line that a user has while waiting."""
    clock = Clock()
    meter = Meter(10, "cpu", clock)
    assert meter.line() == "loading the model · cpu"
    for done in range(1, 5):
        clock.now += 2.0
        meter.note(done)
    assert meter.line() == "tile 4/10 · 0.5 tiles/s · 0:12 left · cpu"
    assert meter.fraction == 0.4


def test_no_speed_is_told_from_the_first_tile() -> None:
    """The first tile holds the loading of the model: its speed would be far too low."""
    clock = Clock()
    meter = Meter(10, "cpu", clock)
    clock.now += 30
    meter.note(1)
    assert meter.line() == "tile 1/10 · cpu"


def test_a_tile_that_is_late_slows_the_speed_down() -> None:
    """A time left that stands still while nothing happens is a lie."""
    clock = Clock()
    meter = Meter(100, "", clock)
    for done in range(1, 12):
        clock.now += 1.0
        meter.note(done)
    assert meter.speed == 1.0
    clock.now += 31.0  # one tile more was due after a second
    assert meter.speed == 10 / 40


def test_steps_inside_tiles_count_as_parts() -> None:
    """A model of many steps would stand still for minutes."""
    meter = Meter(2)
    meter.tick(10, 40)
    assert meter.fraction == 0.125
    meter.tick(40, 40)
    meter.note(1)
    assert meter.fraction == 0.5


def test_durations_read_like_a_clock() -> None:
    """Minutes and hours must not be confused."""
    assert [duration(s) for s in (0, 39, 725, 11040)] == ["0:00", "0:39", "12:05", "3:04:00"]
