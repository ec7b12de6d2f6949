#!/usr/bin/env bash
# Packs `graft verify` for a machine with a card that has no JDK, no Maven and no network:
#
#   scripts/verify-bundle.sh [FILE.tar.xz]        default: build/graft-verify.tar.xz, under 50 MB
#
# There: tar xf graft-verify.tar.xz && graft-verify/verify [options of graft verify]
# Needs what a build needs, and jlink of the JDK.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
archive=${1:-$root/build/graft-verify.tar.xz}
most=$((50 * 1000 * 1000))

die() {
  echo "verify-bundle: $*" >&2
  exit 1
}
java_home=${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")}
for tool in jlink jar; do [[ -x $java_home/bin/$tool ]] || die "$java_home has no $tool: a JDK is needed"; done
[[ -d $java_home/jmods ]] || die "$java_home has no jmods, which jlink reads (a JDK package may leave them out)"

echo "== build"
./graft --version >/dev/null
native=$root/bindings/target/native
cmake --build "$native" --parallel "${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}" \
  --target graft_cuda_test graft_cuda_emulated >/dev/null
[[ -f $native/libgraft_cuda.so.1 ]] || die "the CUDA plugin was not built: scripts/install-nvcc.sh installs nvcc"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundle=$work/graft-verify
mkdir -p "$bundle/lib" "$bundle/native" "$bundle/source"

echo "== jars"
# Verifying reads no text and draws no charts, so what does stays out; of CUDA's presets only the runtime and cuBLAS
# are called. Stored, not deflated: xz packs the whole better.
IFS=: read -r -a entries <<<"$(<build/launcher/cli.classpath)"
pack() { "$java_home/bin/jar" --create --no-compress --file "$bundle/lib/$1.jar" -C "$2" .; }
for entry in "${entries[@]}"; do
  case $entry in
    */tokenizers-*.jar | */api-*.jar | */jna-*.jar | */commons-*.jar | */gson-*.jar | */xchart-*.jar) ;;
    *.jar)
      mkdir "$work/jar"
      (cd "$work/jar" && "$java_home/bin/jar" --extract --file "$entry")
      find "$work/jar" -path '*/include/*' -delete
      find "$work/jar" -name 'libjni*.so' -path '*/cuda/*' ! -name libjnicudart.so ! -name 'libjnicublas*.so' -delete
      pack "$(basename "$entry" .jar)" "$work/jar"
      rm -rf "$work/jar"
      ;;
    *)
      name=${entry#"$root"/}
      pack "graft-$(tr / - <<<"${name%/target/classes}")" "$entry"
      ;;
  esac
done

echo "== kernels and their tests"
cp -L "$native/libgraft.so.1" \
  "$native"/emulation/libgraft_cuda_emulat*.so "$native/native/test/cuda/graft_cuda_test" "$bundle/native/"
sed -n 's/^GRAFT_CUDA_ARCHS:[A-Z]*=//p' "$native/CMakeCache.txt" >"$bundle/native/architectures"
cp -R CMakeLists.txt cmake native LICENSE NOTICE "$bundle/source/"
git describe --always --dirty 2>/dev/null >"$bundle/commit" || echo unknown >"$bundle/commit"

echo "== Java"
"$java_home/bin/jlink" --output "$bundle/runtime" --strip-debug --no-man-pages --no-header-files \
  --add-modules java.base,java.logging,java.management,java.naming,java.xml,jdk.unsupported
strip --strip-unneeded "$bundle/runtime/lib/server/libjvm.so"

install -m 755 /dev/stdin "$bundle/verify" <<'VERIFY'
#!/usr/bin/env bash
# Verifies Graft on this machine's card, without a JDK and a network. Results go to ./results.
#
#   ./verify                       everything: tests, sanitizer, training steps, speed beside PyTorch
#   ./verify --parts tests,steps   some of it; --help says more
#   ./verify --device emulate      without a card
#
# GRAFT_BUILD=1 compiles the kernels here for this card (nvcc, cmake, g++), as happens by itself for cards
# that the carried ones have no code for.
set -euo pipefail
here=$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() {
  echo "verify: $*" >&2
  exit 2
}

classes=$here/lib/'*'
cards=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null || true)
covered() {
  case "$1: $(<"$here/native/architectures")" in
    8.*:*80* | 9.0:*90a*) return 0 ;;
    *) [[ $(<"$here/native/architectures") == all ]] ;;
  esac
}
build=${GRAFT_BUILD:-}
for card in $cards; do covered "$card" || build=1; done
if [[ -n $build ]]; then
  [[ -n $cards ]] || die "GRAFT_BUILD: nvidia-smi shows no card to build for"
  for tool in cmake g++; do
    command -v "$tool" >/dev/null ||
      die "the kernels have to be compiled for compute capability $cards, but $tool is missing"
  done
  echo "verify: compiling the kernels for compute capability $cards (log: $here/build.log)" >&2
  {
    cmake -S "$here/source" -B "$here/build" -DCMAKE_BUILD_TYPE=Release -DGRAFT_CUDA=ON \
      -DGRAFT_CUDA_ARCHS=native -DGRAFT_TESTS=OFF &&
      cmake --build "$here/build" --parallel "$(nproc)" --target graft_cuda
  } >"$here/build.log" 2>&1 || { tail -n 15 "$here/build.log" >&2; die "the build failed: $here/build.log"; }
  # Resources are taken from the first place on the class path that has them.
  resources=$here/build/classes
  mkdir -p "$resources/dev/graft/bindings/linux-x86_64"
  cp -L "$here/build/libgraft_cuda.so.1" "$resources/dev/graft/bindings/linux-x86_64/"
  classes=$resources:$classes
fi

mkdir -p "$here/results"
export LD_LIBRARY_PATH=$here/native${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LC_ALL=C.UTF-8
[[ -n ${OMP_WAIT_POLICY:-} ]] || export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000}
exec "$here/runtime/bin/java" -Xms64m -Xmx2g -XX:+UseSerialGC -Djava.awt.headless=true \
  -Dorg.bytedeco.javacpp.maxBytes=0 -Dorg.bytedeco.javacpp.maxPhysicalBytes=0 \
  -Dorg.bytedeco.javacpp.cachedir="$here/cache" -Dgraft.command="$0" \
  -Ddev.graft.cuda.emulated="$here/native/libgraft_cuda_emulated.so" \
  -Ddev.graft.verify.tests="$here/native/graft_cuda_test" \
  -Ddev.graft.verify.results="$here/results" -Ddev.graft.verify.commit="$(<"$here/commit")" \
  -cp "$classes" dev.graft.cli.Main verify "$@"
VERIFY

echo "== pack"
mkdir -p "$(dirname "$archive")"
tar -C "$work" -cf - --sort=name --owner=0 --group=0 graft-verify | xz -T0 -7 >"$archive.part"
size=$(stat -c %s "$archive.part")
((size < most)) || die "$size bytes are more than $most: $(du -a "$bundle" | sort -n | tail -n 12)"
mv "$archive.part" "$archive"
echo "$archive: $((size / 1000000)) MB, kernels for $(<"$bundle/native/architectures")"
