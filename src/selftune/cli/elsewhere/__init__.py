"""The commands of `jobs`, `files` and `models` for an account at a provider: `--profile NAME`."""
