"""How the embedded model is trained: torch, in a job's child process only."""
