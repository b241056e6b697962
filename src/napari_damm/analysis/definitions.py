"""What each measure is, in a line for those who get a report and nothing else.

In full, with sources, they stand in docs/analyze.md.
"""

DEFINITIONS = {
    "l50": "distance at which the signal above the far field has fallen to half of its value at "
    "the vessels' edge",
    "auc_100": "area under the profile from 0 to 100 um: the signal that the first 100 um see",
    "extravasation_distance": "mean distance from vessels of the signal above the far field, "
    "within 100 um of them",
    "extravasated_area": "share of the tissue that is bright with particles and no vessel",
    "vessel_area": "share of the tissue that is vessel",
    "vessel_density": "vessels per area of tissue; connected ones count once",
    "vessel_diameter": "mean width of the vessels, from their middle lines to their edges",
    "tissue_distance": "half of the tissue outside vessels lies nearer to one than this",
    "perfused_fraction": "share of the vessel area that the perfusion marker reached",
    "tissue_access_100": "share of the tissue within 100 um of a vessel beside which (5 um) it is "
    "bright with particles",
    "tissue_access_50": "the same, within 50 um",
    "cell_dose": "mean over cells of the mean signal of each, a nucleus and 2 um around it; "
    "relative, no amount of substance",
    "positive_cells": "share of the cells whose mean signal is bright",
    "cv": "standard deviation over mean of the signal in blocks of 32 um: 0 is spread evenly",
    "gini": "inequality of the signal in blocks of 32 um: 0 is spread evenly, 1 all in one block",
    "rim_core": "mean signal in the outer fifth of the tissue's depth over that in the rest",
}
