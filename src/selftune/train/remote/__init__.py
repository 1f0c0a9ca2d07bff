"""Training at a provider with OpenAI's API: upload, create, watch, and take home what came of it."""
