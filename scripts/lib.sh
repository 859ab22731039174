# Shared by the scripts: where things are, and how to say what is missing. Sourced, not run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT
cd "$ROOT" || exit 1

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

die() {
  printf 'kefu: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    return 1
  fi
}

# need_packages PACKAGE...: installs the Debian packages that are missing.
need_packages() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = 'install ok installed' ] || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  say "Installing ${missing[*]} / 正在安装 ${missing[*]}"
  if ! { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }; then
    die "please install as root, then run this again / 请以 root 安装后重试: apt-get install -y ${missing[*]}"
  fi
}

# need_tools: the compilers and interpreters, with what to type where one is missing.
need_tools() {
  [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
  command -v cargo >/dev/null || die "Rust is missing (1.95 or newer): install it with rustup / 缺少 Rust（1.95 及以上）：请用 rustup 安装"
  command -v node >/dev/null || die "Node.js 20 or newer is missing / 缺少 Node.js 20 及以上"
  [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || die "Node.js 20 or newer is needed, found $(node --version) / 需要 Node.js 20 及以上"
  command -v python3 >/dev/null || die "Python 3 is missing / 缺少 Python 3"
  python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip
  command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null || need_packages build-essential
}

# build_pages: the web pages, built again only when their sources changed.
build_pages() {
  local ui=src/http/ui stamp
  stamp=$(cd "$ui" && find . \( -name node_modules -o -name dist \) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
  if [ ! -f "$ui/dist/index.html" ] || [ "$(cat "$ui/node_modules/.built" 2>/dev/null)" != "$stamp" ]; then
    [ "${OFFLINE:-0}" = 1 ] && [ ! -d "$ui/node_modules" ] && die "the web pages are not built yet and --offline was given / 网页尚未构建，且指定了 --offline"
    say "Building the web pages / 正在构建网页"
    [ -d "$ui/node_modules" ] && [ "${OFFLINE:-0}" = 1 ] || (cd "$ui" && npm ci --no-audit --no-fund --loglevel=error)
    (cd "$ui" && npm run --silent build >&2)
    printf '%s' "$stamp" > "$ui/node_modules/.built"
  fi
}
