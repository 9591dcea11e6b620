"""The record of a training: a table on disk and a bar on the terminal."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_HEADER = "step\tloss\tvalidation\tseconds\n"


class TrainingLog:
    """`log.tsv` with the columns step, loss, validation (empty in most rows) and seconds.

    Rows after `step`, left by a run that was killed between two checkpoints, are removed.
    """

    def __init__(self, path: Path, step: int, steps: int) -> None:
        """Open the table at `path` after `step` of `steps`."""
        rows = path.read_text().splitlines()[1:] if path.exists() else []
        kept = [row for row in rows if row.count("\t") == 3 and int(row.split("\t")[0]) <= step]
        path.write_text(_HEADER + "".join(f"{row}\n" for row in kept))
        self._file = path.open("a", buffering=1)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("training", total=steps, completed=step)

    def __enter__(self) -> TrainingLog:
        """Show the bar (only on a terminal)."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bar and close the table."""
        self._progress.stop()
        self._file.close()

    def write(self, step: int, loss: float, figure: float | None, seconds: float) -> None:
        """Add the row of one step; figure is the validation's, if there was one."""
        validation = "" if figure is None else f"{figure:.5g}"
        self._file.write(f"{step}\t{loss:.6g}\t{validation}\t{seconds:.1f}\n")
        text = f"loss {loss:.3f}" + (f" validation {validation}" if validation else "")
        self._progress.update(self._task, completed=step, description=text)
