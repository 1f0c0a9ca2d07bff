"""OpenAI's evals: what a run's data source says, and the items and questions that it makes."""
