"""What asking a teacher for data needs: a journal, a budget, prompts, and what counts as new."""
