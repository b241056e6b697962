"""The version, where everyone can read it."""

__version__ = "0.1.0"

OWN_CREATOR = "napari-damm"
"""How pictures that we write call their creator: of these, positions are read back."""
PREDICTED = "predicted: "
"""How the description of those begins that are no pictures, but predicted maps."""
