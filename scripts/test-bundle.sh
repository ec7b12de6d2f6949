#!/usr/bin/env bash
# Packs `graft verify` and runs it away from the tree, with the carried Java alone: on the emulated card, and
# on the real one that most machines lack, where it must say so. Ends with 0 if both are as they should be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT

scripts/verify-bundle.sh "$outside/bundle.tar.xz"
tar -C "$outside" -xf "$outside/bundle.tar.xz"

echo "== the emulated card"
bare() { env -i PATH=/usr/bin:/bin HOME=/nonexistent "$outside/graft-verify/verify" "$@"; }
bare --device emulate --parts tests,repeats,speed --tests 'CudaOptimizer*:CudaAttention.*' \
  --results "$outside/results"
ls "$outside"/results/emulated-*.md "$outside"/results/emulated-*.json

if [[ ! -e /dev/nvidia0 ]]; then
  echo "== a card that is not there"
  code=0
  bare || code=$?
  [[ $code == 2 ]] || { echo "without a card it ended with $code, not 2"; exit 1; }
fi
