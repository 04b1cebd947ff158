#!/usr/bin/env bash
# Asks a model over gRPC with `buf curl` and writes the answer as it streams. It has no protos: the
# server's reflection describes the service.
#
# Run it: ./chat.sh [--target HOST:PORT] [--ca FILE] [--model ID] "What is the capital of France?"
set -euo pipefail

target=localhost:50051
scheme=http
connect=(--http2-prior-knowledge)
model=
while [[ ${1:-} == --* ]]; do
  case $1 in
    --target) target=$2 ;;
    --ca) scheme=https connect=(--cacert "$2") ;;
    --model) model=$2 ;;
    *) echo "unknown option $1" >&2 && exit 2 ;;
  esac
  shift 2
done
message=${1:?usage: chat.sh [--target HOST:PORT] [--ca FILE] [--model ID] MESSAGE}

call() {
  buf curl --protocol grpc "${connect[@]}" "$@"
}

# A text as a JSON string.
quoted() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/\\n}
  text=${text//$'\t'/\\t}
  printf '"%s"' "$text"
}

service=$scheme://$target/tokenwire.v1.InferenceService
if [[ -z $model ]]; then
  model=$(call "$service/ListModels" | sed -n 's/^ *"id": "\(.*\)",*$/\1/p' | head -n 1)
fi

# One message a request on standard input; one message an event on standard output.
call --data @- "$service/Chat" <<EOT | sed -un 's/^ *"text": "\(.*\)"$/\1/p' |
{
  "model": $(quoted "$model"),
  "messages": [
    {"role": "ROLE_SYSTEM", "content": [{"text": "You are a helpful assistant."}]},
    {"role": "ROLE_USER", "content": [{"text": $(quoted "$message")}]}
  ],
  "sampling": {"temperature": 0}
}
EOT
  while IFS= read -r text; do
    printf '%b' "$text"
  done
echo
