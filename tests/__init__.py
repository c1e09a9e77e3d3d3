"""The tests; like the programs, their threads sleep while they wait (see `training/__init__.py`)."""

import training as training
