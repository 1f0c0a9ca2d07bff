"""Training of open models on transformers and PEFT: one loop, and an objective for each method."""
