"""The record of a training: a table and curves on disk, and a bar on the terminal."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from microbleeds.report.files import write_text

_HEADER = "step\tloss\tvalidation\tseconds\n"


class TrainingLog:
    """`log.tsv` with the columns step, loss, validation (empty in most rows) and seconds.

    The same as curves in the folder `curves`, for `tensorboard --logdir`. What a run that was
    killed between two checkpoints left after `step` is removed from both.
    """

    def __init__(self, folder: Path, step: int, steps: int, active: bool = True) -> None:
        """Open the records in `folder` after `step` of `steps`; not `active`: keep none."""
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        shown = active and console.is_terminal
        self._progress = Progress(*columns, console=console, disable=not shown)
        self._task = self._progress.add_task("training", total=steps, completed=step)
        self._active = active
        if active:
            self._file = _table_up_to(step, folder / "log.tsv").open("a", buffering=1)
            self._curves = SummaryWriter(folder / "curves", purge_step=step + 1)

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
        """Remove the bar and close the records."""
        self._progress.stop()
        if self._active:
            self._file.close()
            self._curves.close()

    def write(self, step: int, loss: float, figure: float | None, seconds: float) -> None:
        """Add one step; figure is the validation's, if there was one."""
        if not self._active:
            return
        validation = "" if figure is None else f"{figure:.5g}"
        self._file.write(f"{step}\t{loss:.6g}\t{validation}\t{seconds:.1f}\n")
        self._curves.add_scalar("loss", loss, step)
        if figure is not None:
            self._curves.add_scalar("validation", figure, step)
        text = f"loss {loss:.3f}" + (f" validation {validation}" if validation else "")
        self._progress.update(self._task, completed=step, description=text)


def _table_up_to(step: int, path: Path) -> Path:
    """The table at `path` without rows after `step`, with its header."""
    rows = path.read_text().splitlines()[1:] if path.exists() else []
    kept = [row for row in rows if row.count("\t") == 3 and int(row.split("\t")[0]) <= step]
    write_text(path, _HEADER + "".join(f"{row}\n" for row in kept))
    return path
