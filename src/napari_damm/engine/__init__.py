"""A prediction: a section in, maps out, as a generator of events.

1. `config`: what may be chosen. `planning`: windows, tissue, shards. `cost`: what they will take.
2. `setup`: how it is sampled; `job`: all of it resolved, with the store open; `provenance`: the
   record of how it was made.
3. `run`: the job on this machine. `pipeline`: its threads; `windows`: what they read, and several
   samples of one; `sampler`: the network's share; `recovery`: what happens where it fails.
4. `blending`: windows become shards; `live_preview`: what a viewer sees meanwhile.
5. `intervals`: how low and how high the truth may be, from what is stored.
6. `workers`: who computes the shards, here or in other processes, and who commits them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_damm.engine.config import PredictConfig
    from napari_damm.engine.planning import Plan
    from napari_damm.engine.run import Survey, plan, predict

__all__ = ["Plan", "PredictConfig", "Survey", "plan", "predict"]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["PredictConfig"],
        "planning": ["Plan"],
        "run": ["Survey", "plan", "predict"],
    },
)
