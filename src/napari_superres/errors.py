"""What can go wrong, as types.

::

    SuperresError
    ├── InputError (ValueError)             the image or its file cannot be used as it is
    │   ├── UnreadableError (OSError)       the file is broken, incomplete or of an unknown kind
    │   └── AxesError                       which axis is which cannot be known
    ├── SettingError (ValueError)           a keyword, option or combination makes no sense
    ├── OutputError (OSError)               the destination cannot be written as asked
    ├── WeightsError (OSError)              a model's weights are missing, wrong or unsafe
    │   ├── UnknownModelError (LookupError) no model of that name
    │   └── LicenceError (PermissionError)  the licence has not been accepted
    ├── ResourceError (MemoryError)         memory or disk do not suffice
    ├── MissingDependencyError (ImportError) an optional package is not installed
    │   ├── MissingReaderError              ... and the image cannot be read without it
    │   └── MissingNetworkError             ... and the weights cannot be used without it
    ├── IncompleteError (RuntimeError)      some blocks failed, the others are done
    └── Cancelled                           somebody asked to stop

Every error also derives from the built-in that a stranger would catch, carries a `hint` (what to
do) and an `exit_code` (what the command line returns).
"""

from __future__ import annotations


class SuperresError(Exception):
    """Anything that this package raises on purpose.

    Parameters
    ----------
    message : str
        One sentence: the file, what was expected, what came.
    hint : str, optional
        One sentence: what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(SuperresError, ValueError):
    """The image, or the file that holds it, cannot be used as it is."""

    exit_code = 4


class UnreadableError(InputError, OSError):
    """The file is broken, incomplete or of a kind that is not known."""


class AxesError(InputError):
    """It is not known which axis is which, and guessing would be wrong."""


class SettingError(SuperresError, ValueError):
    """A keyword, an option or a combination of them makes no sense."""

    exit_code = 2


class OutputError(SuperresError, OSError):
    """The destination cannot be written as asked."""

    exit_code = 4


class WeightsError(SuperresError, OSError):
    """The weights of a model are missing, not what they claim to be, or unsafe."""

    exit_code = 5


class UnknownModelError(WeightsError, LookupError):
    """No model has that name, and no file does."""


class LicenceError(WeightsError, PermissionError):
    """The licence of a model has to be accepted before its first use."""


class ResourceError(SuperresError, MemoryError):
    """Memory or disk do not suffice."""

    exit_code = 6


class MissingDependencyError(SuperresError, ImportError):
    """An optional package is needed and not installed."""

    exit_code = 2


class MissingReaderError(MissingDependencyError, InputError):
    """An optional package is needed to read this image, and not installed."""

    exit_code = 4


class MissingNetworkError(MissingDependencyError):
    """An optional package is needed to use these weights, and not installed."""

    exit_code = 5


class IncompleteError(SuperresError, RuntimeError):
    """Some blocks of a result failed; what is done is kept, and a rerun does the rest."""

    exit_code = 3


class Cancelled(SuperresError):  # noqa: N818, not an error
    """Somebody asked to stop. Not a failure."""

    exit_code = 130
