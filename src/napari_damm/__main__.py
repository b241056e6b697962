"""`python -m napari_damm`: the command where its script is on no path."""

import sys

from napari_damm.cli import main

sys.exit(main())
