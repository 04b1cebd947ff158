#!/usr/bin/env bash
# Serves with what `make run` supplies where neither the environment nor .env says otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."

tokenwire=$VENV/bin/tokenwire

default() {
  local name=$1 value=$2
  if [[ -z ${!name:-} ]] && ! grep -Eqs "^[[:space:]]*(export[[:space:]]+)?$name[[:space:]]*=[[:space:]]*[^[:space:]]" .env; then
    export "$name=$value"
  fi
}

if [[ -n ${ENGINE:-} ]]; then
  export LLM_ENGINE=$ENGINE
fi
default LLM_ALLOWED_MODELS HuggingFaceTB/SmolLM2-135M-Instruct
default LLM_ENABLE_PREFIX_CACHING true
default LOG_FORMAT pretty

# One decision for all: the same one that `serve` makes.
needs=$("$tokenwire" config --extras --packages)
# shellcheck disable=SC2086 # several words each
scripts/install.sh llamacpp $needs
exec "$tokenwire" serve --welcome
