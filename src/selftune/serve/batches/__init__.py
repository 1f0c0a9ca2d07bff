"""Batches: many requests in a file, answered one by one as the API answers them."""
