"""Fine-tune, measure and serve language models that you own."""

from selftune.core.errors import SelftuneError
from selftune.core.plugins import available
from selftune.core.settings import Settings, load_settings

__all__ = ["SelftuneError", "Settings", "available", "load_settings"]
