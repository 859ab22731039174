#!/usr/bin/env bash
# The kernels' tests on aarch64: compiled here, run in an emulator of a processor that has every instruction and of one that
# has none beyond the first version of the architecture. Installs nothing: it says what is missing. Debug build in
# target/aarch64-unknown-linux-gnu.
#   scripts/test-aarch64.sh [--all] [FILTER...]   --all: every unit test of the program, not the kernels' alone
#   scripts/test-aarch64.sh --tools               only tells whether the tools are there
set -euo pipefail
. "$(dirname "$0")/lib.sh"

TARGET=aarch64-unknown-linux-gnu
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"

missing=()
command -v cargo >/dev/null || missing+=("Rust 1.95 or newer (rustup)")
libs=$(rustc --print target-libdir --target "$TARGET" 2>/dev/null || true)
compgen -G "$libs/libstd-*.rlib" >/dev/null || missing+=("Rust's standard library for it (rustup target add $TARGET; Debian: libstd-rust-dev:arm64)")
command -v aarch64-linux-gnu-gcc >/dev/null && command -v aarch64-linux-gnu-g++ >/dev/null ||
  missing+=("C and C++ compilers for it (Debian: g++-aarch64-linux-gnu)")
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
[ -n "$qemu" ] || missing+=("an emulator (Debian: qemu-user)")
if [ ${#missing[@]} != 0 ]; then
  printf 'kefu: aarch64 is not tested here, these are missing / 此处无法测试 aarch64，缺少:\n' >&2
  printf '  - %s\n' "${missing[@]}" >&2
  exit 1
fi
[ "${1:-}" = --tools ] && exit 0

filter=(kernels::)
if [ "${1:-}" = --all ]; then
  filter=()
  shift
fi
[ $# = 0 ] || filter=("$@")

# The emulator finds the system's libraries where the cross compiler has them.
export QEMU_LD_PREFIX=${QEMU_LD_PREFIX:-/usr/aarch64-linux-gnu}
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CXX_aarch64_unknown_linux_gnu=aarch64-linux-gnu-g++
export AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
for cpu in max cortex-a72; do
  say "aarch64, emulated: $cpu"
  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$qemu -cpu $cpu" \
    cargo test --locked --lib --target "$TARGET" -- "${filter[@]}"
done
say "The tests passed on aarch64, emulated / aarch64（模拟）测试通过"
