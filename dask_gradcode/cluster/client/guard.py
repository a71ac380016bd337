"""Scripts that start processes without the guard that Python asks of them."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import FrameType

import dask.config

__all__ = ["check_guard"]


def check_guard() -> None:
    """Raise where processes started here would run the script once more from its first line.

    They import the script, so what it does when it is imported they would do, too: each would start
    workers of its own, at which Python gives up, in hundreds of lines.

    Raises
    ------
    RuntimeError
        If the script has no ``if __name__ == "__main__":`` around the line that is running.
    """
    if dask.config.get("distributed.worker.multiprocessing-method") == "fork":
        return
    if not hasattr(sys.modules["__main__"], "__file__"):  # a notebook, say: nothing is imported
        return
    frame: FrameType | None = sys._getframe()
    while frame is not None and not _is_main(frame):
        frame = frame.f_back
    if frame is None or _is_guarded(Path(frame.f_code.co_filename), frame.f_lineno):
        return
    raise RuntimeError(
        f"Line {frame.f_lineno} of {frame.f_code.co_filename} starts worker processes, and each of "
        "them would run it again. Put what the script does below "
        "'if __name__ == \"__main__\":', or pass client= of a cluster that runs already."
    )


def _is_main(frame: FrameType) -> bool:
    """Say whether a frame is the script itself, and not a function of it."""
    return frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__"


def _is_guarded(script: Path, line: int) -> bool:
    """Say whether a line is in an ``if`` that asks for ``__name__``, or nobody can know."""
    try:
        nodes = [*ast.walk(ast.parse(script.read_bytes()))]
    except (OSError, SyntaxError, ValueError):
        return True
    statements = [node for node in nodes if isinstance(node, ast.stmt)]
    running = [s for s in statements if s.lineno <= line <= (s.end_lineno or s.lineno)]
    return not running or any(
        isinstance(s, ast.If) and "__name__" in ast.unparse(s.test) for s in running
    )
