#!/usr/bin/env bash
# Installs nvcc 13.0 and what it needs to compile into <root>/.cuda, from PyPI, without root rights
# and without a GPU. CMake finds it there. Safe to call again: it ends at once if nvcc works.
#
#   scripts/install-nvcc.sh [directory]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
target=${1:-$root/.cuda}
cuda=$target/nvidia/cu13

fail() {
  echo "install-nvcc: $*" >&2
  exit 1
}

# A compiler that cannot compile is not installed: try a kernel, not only --version.
works() {
  [[ -x $cuda/bin/nvcc ]] || return 1
  local dir status=0
  dir=$(mktemp -d)
  printf '#include <cuda_runtime.h>\n#include <cuda/std/cstdint>\n__global__ void f(int* x) { *x = 1; }\n' \
    >"$dir/probe.cu"
  "$cuda/bin/nvcc" -std=c++20 -arch=sm_80 -c "$dir/probe.cu" -o "$dir/probe.o" >"$dir/log" 2>&1 ||
    status=1
  [[ $status == 0 || ${1:-} != loud ]] || cat "$dir/log" >&2
  rm -rf "$dir"
  return "$status"
}

if works; then
  echo "install-nvcc: $("$cuda/bin/nvcc" --version | grep -o 'release [0-9.]*, V[0-9.]*') is in $cuda"
  exit 0
fi

command -v g++ >/dev/null || fail "g++ is missing (Debian, Ubuntu: apt-get install g++)"
command -v python3 >/dev/null ||
  fail "python3 is missing (Debian, Ubuntu: apt-get install python3 python3-pip)"
python3 -m pip --version >/dev/null 2>&1 ||
  fail "pip is missing (Debian, Ubuntu: apt-get install python3-pip)"

mkdir -p "$target"
# --upgrade replaces what an interrupted installation left behind.
python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location --upgrade \
  --target "$target" \
  'nvidia-cuda-nvcc==13.0.*' 'nvidia-nvvm==13.0.*' 'nvidia-cuda-crt==13.0.*' \
  'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cccl==13.0.*'

# nvcc looks for libraries in lib64, the wheels put them in lib; some installers drop the mode bits.
[[ -e $cuda/lib64 ]] || ln -s lib "$cuda/lib64"
chmod -R u+x "$cuda/bin"
[[ ! -d $cuda/nvvm/bin ]] || chmod -R u+x "$cuda/nvvm/bin"

works loud || fail "the installed nvcc does not compile (above)"
echo "install-nvcc: $("$cuda/bin/nvcc" --version | grep -o 'release [0-9.]*, V[0-9.]*') is in $cuda"
