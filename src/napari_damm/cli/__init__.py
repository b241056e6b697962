"""The entry of the command `napari-damm`: signals are handled before anything heavy loads.

`commands` has the commands; what each does is in a module of its name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from napari_damm.cli import signals

INTERRUPTED = 130


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    args
        What follows the command's name; None takes it from the process, which then is taken to end
        with the command: signals are left ignored.
    """
    _open_closed_streams()
    with signals.interruptible(to_the_end=args is None):
        try:
            from napari_damm.cli.commands import run

            return run(args)
        except KeyboardInterrupt:
            signals.ignore()
            sys.stderr.write("napari-damm: interrupted\n")
            return INTERRUPTED


def _open_closed_streams() -> None:
    """Let nothing take the place of a standard stream that the caller has closed.

    The next file that is opened would get its number, and messages would be written into it.
    """
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            stream = os.fdopen(number, "r" if number == 0 else "w", closefd=False)
            setattr(sys, name, stream)
