"""Prove that nothing got worse: `plan` says who is compared, `conclude` what follows, `run` does it."""
