"""`python -m bisenetv2`."""

import sys

from bisenetv2.cli import main

sys.exit(main())
