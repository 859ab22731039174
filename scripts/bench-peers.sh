#!/usr/bin/env bash
# kefu and llama.cpp side by side: the same work, the same machine, one run, in turns. Prints Markdown, writes JSON beside.
#
#   scripts/bench-peers.sh [--model FILE] [--quick] [--only ROWS] [--parallel NS] [--skip-build] [--fetch] [--threads N] [--out FILE]
#
#   --fetch        set-up: fetch llama.cpp's source (the source package llama-cpp-python of the Python package index, which
#                  holds it) and its build tools. The only step that needs a network; needed once.
#   --skip-build   build nothing: measure the programs that are there
#   --model FILE   a GGUF of models/manifest.toml or models/local.toml; default: qwen2.5-coder-0.5b-instruct
#   --quick        two measurements instead of four, and fewer requests at once
#   --only ROWS    of prefill,decode,parallel,rag,clients,start; separated by commas
#   --parallel NS  how many requests at once; default 1,4,8,16 (1,4 with --quick)
#   --threads N    for every program; default 2
#   --out FILE     where the JSON goes; default target/peers/figures.json
#
# Rivals: `default` is the same file with llama.cpp's own settings; `tuned` is the file requantised to Q4_0
# (`llama-quantize --pure`), without flash attention where decoding is measured, which is faster on processors.
# kefu is measured on the same file, and with `four_bit_weights` (the engine's rows only).
# Everything lies in target/peers (PEERS names another directory).
set -euo pipefail
. "$(dirname "$0")/lib.sh"

PEERS=${PEERS:-$ROOT/target/peers}
MODEL=models/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf
BUILD=1
FETCH=0
rest=()
while [ $# -gt 0 ]; do
  case $1 in
    --model) MODEL=${2:?--model needs a file}; shift ;;
    --skip-build) BUILD=0 ;;
    --fetch) FETCH=1 ;;
    --quick) rest+=(--quick) ;;
    --only | --parallel | --threads | --out) rest+=("$1" "${2:?$1 needs a value}"); shift ;;
    -h | --help) sed -n '2,21s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "unknown option $1; see scripts/bench-peers.sh --help" >&2; exit 2 ;;
  esac
  shift
done
TOOLS=(llama-bench llama-batched-bench llama-server llama-quantize llama-perplexity)
SOURCE=$PEERS/src/vendor/llama.cpp

fetch() {
  say "Fetching llama.cpp's source"
  mkdir -p "$PEERS"
  [ -x "$PEERS/venv/bin/pip" ] || python3 -m venv "$PEERS/venv" || die "python3-venv is missing: apt-get install python3-venv"
  # The build back end is installed beforehand: with --no-binary an isolated build would compile CMake itself.
  "$PEERS/venv/bin/pip" install -q cmake ninja scikit-build-core
  rm -rf "$PEERS/sdist" "$PEERS/src"
  "$PEERS/venv/bin/pip" download -q --no-deps --no-build-isolation --no-binary llama-cpp-python -d "$PEERS/sdist" llama-cpp-python
  mkdir -p "$PEERS/src"
  tar xzf "$PEERS"/sdist/llama_cpp_python-*.tar.gz -C "$PEERS/src" --strip-components=1
  basename "$PEERS"/sdist/llama_cpp_python-*.tar.gz .tar.gz > "$PEERS/version"
  # GCC 12 declares 8 of the 64 bytes that _tile_loadconfig reads, drops the stores before it, and the program dies on
  # machines with AMX. A barrier keeps them; it costs nothing elsewhere.
  local amx=$SOURCE/ggml/src/ggml-cpu/amx/mmq.cpp
  if [ -f "$amx" ] && ! grep -q '__asm__ volatile.*&tc' "$amx"; then
    sed -i 's/^\( *\)_tile_loadconfig(&tc);/\1__asm__ volatile("" : : "r"(\&tc) : "memory");\n&/' "$amx"
  fi
}

build_all() {
  [ -f "$SOURCE/CMakeLists.txt" ] || die "llama.cpp's source is not in $PEERS/src: run scripts/bench-peers.sh --fetch once (it needs a network)"
  local cmake=$PEERS/venv/bin/cmake ninja=$PEERS/venv/bin/ninja tool there=() tools
  [ -x "$cmake" ] && [ -x "$ninja" ] || die "CMake is not in $PEERS/venv: run scripts/bench-peers.sh --fetch once (it needs a network)"
  say "Building llama.cpp (first time: ten minutes and more)"
  GIT_CEILING_DIRECTORIES=$PEERS "$cmake" -S "$SOURCE" -B "$PEERS/build" -G Ninja -DCMAKE_MAKE_PROGRAM="$ninja" \
    -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF \
    -DLLAMA_BUILD_NUMBER=0 -DLLAMA_BUILD_COMMIT=sdist >"$PEERS/configure.log" 2>&1 \
    || die "CMake failed; see $PEERS/configure.log"
  tools=$("$ninja" -C "$PEERS/build" -t targets all | sed 's/:.*//')
  for tool in "${TOOLS[@]}"; do
    if grep -qx "$tool" <<<"$tools"; then there+=("$tool"); else say "$tool is not in this source; its rows are left out"; fi
  done
  nice "$ninja" -C "$PEERS/build" -j "$(nproc)" "${there[@]}" >"$PEERS/build.log" 2>&1 || die "the build failed; see the end of $PEERS/build.log"
  say "Building kefu"
  cargo build --release --locked --offline --quiet
}

[ $FETCH = 1 ] && fetch
[ $BUILD = 1 ] && build_all
[ -x target/release/kefu ] || die "target/release/kefu is missing: run cargo build --release"
[ -f "$MODEL" ] || die "$MODEL is missing: run kefu models pull qwen2.5-coder-0.5b-instruct"
for tool in llama-bench llama-server llama-quantize; do
  [ -x "$PEERS/build/bin/$tool" ] || die "$PEERS/build/bin/$tool is missing: run scripts/bench-peers.sh without --skip-build"
done
exec python3 -B scripts/bench_peers.py --model "$MODEL" --peers "$PEERS" "${rest[@]}"
