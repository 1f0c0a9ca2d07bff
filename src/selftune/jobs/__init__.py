"""Durable jobs: states, queue, leases, events. Knows nothing of training."""
