"""`/v1/evals`, and the page that shows a run."""
