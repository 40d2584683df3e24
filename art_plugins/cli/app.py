"""The application that the commands are registered with, its console, and how it ends."""

from __future__ import annotations

import signal
import sys
import warnings

import typer
from rich.console import Console

from art_plugins.cli.terminal import messages_beside_bars, say
from art_plugins.errors import ArtPluginsError
from art_plugins.files.file_walk import printable

# Whatever imports torch or ART is imported inside the commands, so that --help and a bad argument are answered at once.

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Published defences against backdoor poisoning, compared with those of the Adversarial Robustness Toolbox (ART).",
)
console = Console(emoji=False)  # a class may be named :cat:
INTERRUPTED = 130  # exit status: 128 and the number of the signal of Ctrl-C
STOPPED = 143  # the same of SIGTERM
ENDED = {INTERRUPTED: "Interrupted", STOPPED: "Stopped"}


def main() -> None:
    """Run the command line; an error of this package is one sentence on standard error and exit status 2."""
    warnings.filterwarnings("ignore", module="lightning")
    signal.signal(signal.SIGTERM, _stop)
    with messages_beside_bars():
        try:
            app(standalone_mode=True)
        except ArtPluginsError as error:
            message, status = f"Error: {printable(' '.join(str(error).split()))}", 2
        except OSError as error:
            if error.filename is None or error.strerror is None:  # no file of the user's is to blame
                raise
            message, status = f"Error: {printable(str(error.filename))} cannot be used ({error.strerror}).", 2
        except SystemExit as end:  # typer makes one of every end, also of Ctrl-C
            if end.code not in ENDED:
                raise
            message, status = f"{ENDED[end.code]}; run the same command again to continue.", end.code
        # Only here are the bars of the functions that failed gone from the screen.
        say(message)
        sys.exit(status)


def _stop(*_: object) -> None:
    """SIGTERM ends the command like any other exit, so that temporary files are removed."""
    sys.exit(STOPPED)
