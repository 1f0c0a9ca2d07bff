"""`/v1/fine_tuning/alpha/graders`."""
