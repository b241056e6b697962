"""Which pixel sizes are believed."""

LARGEST_USUAL_PIXEL_UM = 25.0
"""Larger ones are nearly always a printer's or screen's resolution: 72 dpi are 352.8 um."""
