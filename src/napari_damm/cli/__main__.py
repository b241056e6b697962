"""`python -m napari_damm.cli`."""

import sys

from napari_damm.cli import main

sys.exit(main())
