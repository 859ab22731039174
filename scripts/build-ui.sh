#!/usr/bin/env bash
# Builds the web pages that the program embeds.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
build_pages
