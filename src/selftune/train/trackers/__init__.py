"""One file per service that shows trainings."""
