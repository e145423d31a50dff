"""``python -m encash``: the command line."""

import sys

from encash.cli import main

sys.exit(main())
