"""Models that a server such as vLLM answers for, over HTTP."""
