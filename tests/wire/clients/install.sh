#!/usr/bin/env bash
# Other official clients, installed beside the project in .work/ (ignored by git):
#   openai-2.30/     an older Python SDK, with its `openai` command
#   openai-3.52.0/   the source distribution of the current one, for its own test files
#   node/            the SDK for Node
# A part that cannot be installed here is left out, and its tests skip with that reason.
set -u
root="$(cd "$(dirname "$0")/../../.." && pwd)"
python="$root/.venv/bin/python"
mkdir -p "$root/.work" && cd "$root/.work" || exit 1

pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }

if [ ! -f openai-2.30/.complete ]; then
  rm -rf openai-2.30
  pip install --target openai-2.30 "openai==2.30.0" && touch openai-2.30/.complete
fi

if [ ! -f openai-3.52.0/.complete ]; then
  rm -rf openai-3.52.0 sdk-tests-environment
  pip download --no-binary openai --no-deps --dest . "openai==3.52.0" \
    && tar xzf openai-3.52.0.tar.gz && rm openai-3.52.0.tar.gz \
    && pip install --target sdk-tests-environment "pytest-asyncio==1.4.0" "aiohttp>=3.12" "httpx-aiohttp>=0.1.9" \
    && touch openai-3.52.0/.complete
fi

if command -v npm >/dev/null && [ ! -f node/.complete ]; then
  rm -rf node && mkdir node && cd node \
    && npm install --silent --no-audit --no-fund --no-package-lock "openai@7.55.0" >/dev/null 2>&1 \
    && touch .complete
fi
exit 0
