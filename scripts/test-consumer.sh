#!/usr/bin/env bash
# Installs the artifacts as a user would, and builds what stands outside of the tree on them: the Maven
# project docs/examples/consumer (models, libtorch tensors, ND4J arrays) and native/test/c_example.c against the
# platform jar by CMake's find_package. Ends with 0 if all doors open.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT

echo "== the versions a user imports are those that were built with"
for preset in javacpp dnnl cuda opencl openblas pytorch; do
  built=$(sed -n "s|.*<$preset\.version>\(.*\)</.*|\1|p" pom.xml)
  imported=$(sed -n "/<artifactId>$preset<\/artifactId>/{n;s|.*<version>\(.*\)</version>.*|\1|p}" bom/pom.xml | sort -u)
  [[ $imported == "$built" || ($preset == javacpp && $imported == '${javacpp.version}') ]] ||
    { echo "bom/pom.xml has $preset $imported, pom.xml $built"; exit 1; }
done
[[ $(grep -c "<javacpp.version>$(sed -n 's|.*<javacpp\.version>\(.*\)</.*|\1|p' pom.xml)</" bom/pom.xml) == 1 ]] ||
  { echo "bom/pom.xml has another JavaCPP than pom.xml"; exit 1; }

echo "== mvn install"
mvn -B -ntp -q install -DskipTests -Dspotless.check.skip -pl bom,bindings/platform,java/graft,java/torch -am </dev/null

echo "== a Maven project"
cp -R docs/examples/consumer "$outside/maven"
mvn -B -ntp -f "$outside/maven" test </dev/null

echo "== a CMake project"
mkdir -p "$outside/jar" "$outside/c"
(cd "$outside/jar" && jar xf "$root"/bindings/target/graft-bindings-*-linux-x86_64.jar)
cp native/test/c_example.c "$outside/c/"
cat >"$outside/c/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.24)
project(consumer LANGUAGES C)
find_package(graft REQUIRED)
add_executable(example c_example.c)
target_link_libraries(example PRIVATE graft::graft m)
CMAKE
cmake -S "$outside/c" -B "$outside/c/build" \
  -Dgraft_DIR="$outside/jar/dev/graft/bindings/linux-x86_64/lib/cmake/graft" >"$outside/c/log"
cmake --build "$outside/c/build" >>"$outside/c/log"
"$outside/c/build/example"
echo "every door opened"
