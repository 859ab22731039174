#!/usr/bin/env bash
# Builds kefu for NVIDIA graphics cards: target/cuda/<profile>/kefu. Needs no card and no driver. Takes the CUDA
# toolkit of this machine (nvcc in PATH, or CUDA_HOME); where there is none, fetches NVIDIA's compiler and libraries as
# Python packages into target/cuda-toolkit (1.2 GB). Further arguments go to cargo: `scripts/build-cuda.sh test --lib`,
# without any it is `build --release`.
#   CUDA_COMPUTE_CAP   the card it is to run on, as in NVIDIA's list of compute capabilities, without the point: 80 for A100,
#                      86, 89, 90 for H100. Part of the kernels is machine code of that generation: what is built for 80 runs
#                      on 80 to 89. Unless set, the card of this machine is asked; where there is none it is 80.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) libs=x86_64-linux ;;
  Linux-aarch64) libs=sbsa-linux ;;
  *) die "CUDA is built on Linux only / 仅支持在 Linux 上构建" ;;
esac
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
command -v cargo >/dev/null || die "Rust is missing (1.95 or newer): install it with rustup / 缺少 Rust（1.95 及以上）：请用 rustup 安装"
command -v c++ >/dev/null || need_packages build-essential

toolkit=$ROOT/target/cuda-toolkit
nvcc=$(command -v nvcc || ls "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" 2>/dev/null || true)
if [ -z "$nvcc" ]; then
  nvcc=$toolkit/wheels/nvidia/cu13/bin/nvcc
  if [ ! -e "$toolkit/wheels/.complete" ]; then
    [ "${OFFLINE:-0}" = 1 ] && die "no nvcc here, and --offline was given / 本机没有 nvcc，且指定了 --offline"
    say "Fetching NVIDIA's compiler / 正在下载 NVIDIA 编译器"
    python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip
    # Version 13.0 is the first whose packages hold a whole nvcc; curand counts by itself.
    python3 -m pip install --quiet --no-deps --upgrade --target "$toolkit/wheels" \
      nvidia-{cuda-nvcc,cuda-crt,cuda-runtime,cuda-cccl,cuda-nvrtc,nvvm,cublas}'==13.0.*' 'nvidia-curand==10.4.0.*'
    touch "$toolkit/wheels/.complete"
  fi
fi
root=$(cd "$(dirname "$(readlink -f "$nvcc")")/.." && pwd)
version=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\)\.\([0-9]*\),.*/\1 \2/p')
[ -n "$version" ] || die "$nvcc does not say its version / 无法获得 $nvcc 的版本"

# The program must start where there is no driver, so NVIDIA's libraries are opened when a card is asked for (what cudarc
# calls dynamic loading), and none is linked but the static runtime. The tensor library's manifest asks cudarc for linking
# instead, and features only add up: so the compiler is told about loading where it compiles cudarc, and what cudarc's build
# script still names for the linker is found as empty archives.
lib=$toolkit/home/lib
mkdir -p "$lib"
for name in cuda nvrtc curand cublas cublasLt; do
  [ -e "$lib/lib$name.a" ] || ar crs "$lib/lib$name.a"
done
runtime=$(ls "$root"/{lib,lib64,targets/$libs/lib}/libcudart_static.a 2>/dev/null | head -n 1 || true)
[ -n "$runtime" ] || die "libcudart_static.a is not in $root / 在 $root 中找不到 libcudart_static.a"
ln -sfn "$runtime" "$lib/libcudart.a"

export CUDA_HOME=$toolkit/home NVCC=$nvcc
if [ -z "${CUDA_COMPUTE_CAP:-}" ]; then
  CUDA_COMPUTE_CAP=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d . || true)
fi
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
# shellcheck disable=SC2086
export CUDARC_CUDA_VERSION=$(printf '%d0%d0' $version)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target/cuda}
export RUSTC_WRAPPER=$toolkit/rustc
cat > "$RUSTC_WRAPPER" <<'WRAPPER'
#!/bin/sh
case " $* " in
  *" --crate-name cudarc "*) exec "$@" --cfg 'feature="dynamic-loading"' ;;
  *) exec "$@" ;;
esac
WRAPPER
chmod +x "$RUSTC_WRAPPER"
[ $# -gt 0 ] || set -- build --release
command=$1
shift
say "CUDA ${version/ /.} ($nvcc), compute capability $CUDA_COMPUTE_CAP"
exec cargo "$command" --locked --features cuda "$@"
