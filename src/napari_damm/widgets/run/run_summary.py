"""What is kept of a run's events, whatever it runs: warnings, and how it finished."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_damm.events import Event, Finished, Notice
from napari_damm.util.advice import in_words
from napari_damm.widgets.control_names import control_name


@dataclass(kw_only=True)
class RunSummary:
    """Counts the events of one run, and puts them into words."""

    finished: Finished | None = None
    warnings: list[str] = field(default_factory=list)

    def count(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case Notice(message, "warning"):
                self.warn(message)
            case Finished():
                self.finished = event

    def warn(self, message: str) -> None:
        """Keep a warning for the sentences to come, once."""
        said = in_words(message, control_name)
        if said not in self.warnings:
            self.warnings.append(said)

    @property
    def fraction(self) -> float:
        """Share of the work that is done, 0..1."""
        raise NotImplementedError

    def text(self) -> str:
        """Return how far the run is, for the progress bar."""
        raise NotImplementedError

    def sentence(self, *words: str) -> str:
        """Join what there is to say, the warnings at the end."""
        return "; ".join(filter(None, [*words, *self.warnings]))
