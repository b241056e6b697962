"""A model judged on sections it never saw.

1. `run`: each section is predicted three times, by each branch alone and gated, and compared.
2. `scores`: what is measured of one prediction, and on which pixels.
3. `summary`: means over sections, with the interval in which they lie; paired differences.
4. `report`: all of it as a value, as JSON and as tables; `drawing`: one figure.

`run` loads the engine: import it where it is called.
"""

from napari_damm.evaluation.report import Report, Row, SectionFacts, Summary

__all__ = ["Report", "Row", "SectionFacts", "Summary"]
