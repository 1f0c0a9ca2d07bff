"""Leave OpenAI with everything, and prove that nothing got worse."""
