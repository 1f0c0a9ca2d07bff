"""Keep how a model answers while it still does: `prompts` finds what to ask, `run` asks and keeps."""
