"""What is to be said before any number of a predicted map is read.

1. The verdict on the prediction itself, where that is not plain use.
2. That its model is no better than a trivial one.
3. That its section may be another picture.
4. Of single measures: that a prediction does not give them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from napari_damm.analysis.measures import NOT_GIVEN
from napari_damm.trust.verdict import VERDICTS, said_of_model

UNREAD = "not to be read from a predicted map"
TRUSTED_IS = (
    "Trusted tissue is where the images are familiar to the model, and vessels and nuclei agree. "
    'It is not what a prediction calls "use", which leaves out wide intervals as well: those lie '
    "where the map is bright, and without them measures would be of dark tissue."
)


def cautions_of(name: str, record: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is to be said of a section before its numbers."""
    trust = record.get("trust")
    if isinstance(trust, Mapping) and (verdict := trust.get("verdict")) in VERDICTS[1:]:
        reasons = [str(reason) for reason in trust.get("reasons") or ()]
        because = f" ({'; '.join(reasons)})" if reasons else ""
        yield f'{name}: the verdict on the prediction was "{verdict}"{because}'
    if warning := said_of_model(record):
        yield f"{name}: {warning}"
    if about.get("caution"):
        yield f"{name}: {about['caution']}"


def why_not_to_be_read(measure: str, predicted: bool, about: Mapping[str, Any]) -> str:
    """Return why a value that was measured is not to be read; "" where it is."""
    unread = UNREAD if predicted and measure in NOT_GIVEN else ""
    return "; ".join(each for each in (unread, about.get("caution", "")) if each)
