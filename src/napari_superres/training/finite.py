"""Numbers that are none: a comparison with a bound lets NaN pass."""

from __future__ import annotations

import math
from typing import Any

from napari_superres.errors import SettingError


def check_finite(values: dict[str, Any]) -> None:
    """Refuse settings of which one is infinite or not a number.

    Parameters
    ----------
    values : dict
        By name; what is no float is left alone.

    Raises
    ------
    SettingError
        If one is not finite.
    """
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(f"{name} must be a finite number, not {value}.")
