"""The public functions, for scripts, the command line and the widgets.

Heavy imports happen inside the functions: importing this module loads neither torch nor Qt.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_damm.config import PredictConfig
from napari_damm.simulate import SimulatedSlide, simulate_slide
from napari_damm.slide import Slide, open_slide
from napari_damm.store import Result, open_result

if TYPE_CHECKING:
    from distributed import Client

    from napari_damm.engine import Survey
    from napari_damm.events import Event
    from napari_damm.model.damm import DAMM

__all__ = [
    "PredictConfig",
    "Result",
    "SimulatedSlide",
    "Slide",
    "import_authors_checkpoint",
    "load_model",
    "open_result",
    "open_slide",
    "plan",
    "predict",
    "simulate_slide",
]


def predict(
    slide: Slide,
    model: DAMM | str | Path | None = None,
    config: PredictConfig | None = None,
    store: str | Path | None = None,
    client: Client | None = None,
    resume: bool = False,
) -> Iterator[Event]:
    """Predict the nanoparticle map of a slide, as a generator of events.

    Parameters
    ----------
    slide
        From `open_slide` or `slide_from_arrays`.
    model
        A loaded model, a name, a path, or None for the bundled one.
    config
        Wishes; all have defaults.
    store
        Folder for the result (an OME-Zarr); None keeps it in memory.
    client
        A `dask.distributed.Client`: the shards are computed by its cluster's workers.
    resume
        Continue what is in `store`, which must be of the same job; without it `store` must not
        exist yet.

    Yields
    ------
    `Planned` first (after notices), `Finished(result)` last. Closing the generator cancels.

    Raises
    ------
    ValueError, OSError
        For bad input, before the first event and with nothing left behind or lost.

    Examples
    --------
    >>> for event in predict(open_slide("section.ome.tif")):  # doctest: +SKIP
    ...     print(event)
    """
    config = config or PredictConfig()
    loaded = load_model(model, config.device)
    if client is not None:
        from napari_damm import cluster

        yield from cluster.predict(slide, loaded, config, store, client, resume)
    elif config.workers > 1:
        from napari_damm import processes

        yield from processes.predict(slide, loaded, config, store, resume)
    else:
        from napari_damm import engine

        yield from engine.predict(slide, loaded, config, store, resume)


def plan(
    slide: Slide,
    model: DAMM | str | Path | None = None,
    config: PredictConfig | None = None,
    store: str | Path | None = None,
) -> Survey:
    """Say what a prediction would compute and cost, without starting it; see `engine.plan`."""
    from napari_damm import engine

    config = config or PredictConfig()
    return engine.plan(slide, load_model(model, config.device), config, store)


def load_model(name_or_path: DAMM | str | Path | None = None, device: str = "auto") -> DAMM:
    """Load a model by name, from a file, or the bundled one; see `model_file.load_model`."""
    from napari_damm import model_file

    return model_file.load_model(name_or_path, device)


def import_authors_checkpoint(
    path: str | Path, out: str | Path | None = None, pixel_size_um: float | None = None
) -> DAMM:
    """Read a checkpoint of the authors' code; see `authors.import_authors_checkpoint`."""
    from napari_damm import authors

    return authors.import_authors_checkpoint(path, out, pixel_size_um)
