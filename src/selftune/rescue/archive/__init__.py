"""An account at a provider, kept in a folder: `format` says what stands where."""
