"""Between napari layers and ours: sections in, results out, regions, sample data."""
