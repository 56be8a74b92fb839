"""The command line: ``superres``."""

from __future__ import annotations

import sys
import traceback
from io import TextIOWrapper

import click

from napari_superres._version import __version__
from napari_superres.cli.batch import batch
from napari_superres.cli.compare import compare
from napari_superres.cli.convert import convert
from napari_superres.cli.info import doctor, info
from napari_superres.cli.jobs import status, verify
from napari_superres.cli.measure import measure
from napari_superres.cli.models import models
from napari_superres.cli.simulate import simulate
from napari_superres.cli.train import train
from napari_superres.cli.upscale import plan, upscale
from napari_superres.cli.wording import as_options
from napari_superres.errors import SuperresError

EXIT_BUG = 1
EXIT_MEMORY = 6
EXIT_INTERRUPTED = 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 a bug of ours, 2 usage, 3 incomplete (run again), 4 input, "
    "5 weights or licence, 6 memory or disk, 130 interrupted.",
)
@click.version_option(__version__, prog_name="superres")
def cli() -> None:
    """Make microscope images finer, and know how far to trust the result.

    \b
    A first result, beside the input:
        superres upscale cells.ome.tif
    What it would do, without doing it:
        superres plan cells.ome.tif --model realesr-general-x4v3
    What a file holds, and where a result comes from:
        superres info cells_x2.ome.zarr

    Detail is estimated by a model, not measured: do not quantify on it without validation.
    """  # noqa: D301, click wants the character


for command in (
    upscale,
    plan,
    batch,
    status,
    verify,
    convert,
    info,
    measure,
    compare,
    simulate,
    train,
    models,
    doctor,
):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the code that `--help` lists.

    Parameters
    ----------
    arguments : list of str, optional
        Instead of those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        # On Windows, what goes into a file is in a code page that lacks most names.
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        cli.main(args=arguments, prog_name="superres", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return EXIT_INTERRUPTED
    except SuperresError as error:
        click.echo(f"Error: {as_options(str(error), cli)}", err=True)
        for note in getattr(error, "__notes__", ()):
            click.echo(f"  {as_options(note, cli)}", err=True)
        return error.exit_code
    except MemoryError:
        click.echo("Error: Memory is full. Use a smaller --tile, or fewer --workers.", err=True)
        return EXIT_MEMORY
    except Exception:
        traceback.print_exc()
        click.echo(
            f"Error: this is a bug of superres {__version__}. "
            "Please report it with the lines above and what 'superres doctor' prints.",
            err=True,
        )
        return EXIT_BUG
    return 0
