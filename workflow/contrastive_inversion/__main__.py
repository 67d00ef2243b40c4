"""`python -m contrastive_inversion`: the command line, for environments that hold its libraries but not the package."""

import sys

from contrastive_inversion.run.cli import main

sys.exit(main())
