"""Small changes that make the package wrong, each of which a test finds."""

from tests.planted_faults import models, runs

FAULTS = (*models.FAULTS, *runs.FAULTS)
