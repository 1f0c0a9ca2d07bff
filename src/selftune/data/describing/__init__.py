"""One example as a model sees it, and the page."""
