"""The door: one command, its words, and the exit codes.

Exit codes: 0 all, 1 usage or refused input, 2 some cases failed, 3 all failed, 130 interrupted. Each word imports what
it needs when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Annotated, Any

import typer

import segsuite
from segsuite.cli import data_words, house_words, judge_words, model_words, run_words, service_words, slurm_words
from segsuite.cli.terminal import print_problem, set_verbosity
from segsuite.engines.machine import limit_threads
from segsuite.errors import InputError
from segsuite.failures import Step, reason_of

__all__ = ["app", "main"]

INTERRUPTED = 130

# newer Typer carries its own copy of click, so the class is taken from Typer and not from click
UsageProblem: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="segsuite",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(segsuite.__version__)
        raise typer.Exit


@app.callback(epilog="Example: segsuite demo --out demo_run")
def start(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)] = False,
) -> None:
    """Train, predict and evaluate segmentations of NIfTI volumes."""


house_words.add_to(app)
data_words.add_to(app)
run_words.add_to(app)
slurm_words.add_to(app)
model_words.add_to(app)
judge_words.add_to(app)
service_words.add_to(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Args:
        arguments: Default: those of the process.
    """
    words = sys.argv[1:] if arguments is None else arguments
    set_verbosity(quiet=False, verbose=False)
    limit_threads()
    house_words.add_pipeline_words(app, words)
    command = typer.main.get_command(app)
    try:
        code = command.main(args=words, prog_name="segsuite", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except typer.Exit as error:
        code = error.exit_code
    except UsageProblem as error:
        error.show()
        code = 1
    except InputError as error:
        print_problem(str(error))
        code = 1
    except Exception as error:
        if logging.getLogger().isEnabledFor(logging.INFO):  # --verbose
            traceback.print_exc()
        print_problem(reason_of(error, Step.COMMAND))
        code = 1
    if code == INTERRUPTED:
        print_problem("interrupted: what is finished is kept; the same command goes on from there")
    sys.exit(code if isinstance(code, int) else 0)
