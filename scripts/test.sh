#!/usr/bin/env bash
# Every test: units, integration (with real models), the web pages, the browser, and the official OpenAI client.
# Installs what is missing; needs nothing beforehand but Rust, Node.js 20 and Python 3 with pip.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_tools
need_packages chromium fonts-noto-cjk python3-venv
# The tests start a server of their own; any release from 15 on will do.
ls -d /usr/lib/postgresql/1[5-9]/bin >/dev/null 2>&1 || need_packages postgresql-15
build_pages
say "Unit tests of the pages"
(cd src/http/ui && npm test --silent)

say "Building"
cargo build --locked
KEFU=$ROOT/target/debug/kefu
say "Models for the tests"
"$KEFU" models pull multilingual-e5-small smollm2-135m-instruct qwen2.5-coder-0.5b-instruct

say "Rust tests"
cargo test --locked
say "Of the server's tests those again, over PostgreSQL, that lean on the store most (one looks into SQLite's file)"
KEFU_TEST_STORE=postgres cargo test --locked --test integration -- http::desk http::replay http::flows http::knowledge \
  http::learning http::people --skip http::desk::nothing_of_an_erased

say "A server with the sample knowledge base"
work=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$work"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$KEFU" kb import kb --data "$work/data"
# Answers that the model writes take long enough to be stopped half way; quoted ones do not.
printf '[dialogue]\nwritten_answers = true\njudging = false\nsecond_reading = false\nanswer_confidence = 0.5\n' >"$work/kefu.toml"
"$KEFU" serve --config "$work/kefu.toml" --data "$work/data" --model qwen2.5-coder-0.5b-instruct --listen "127.0.0.1:$port" 2>"$work/log" &
server=$!
for _ in $(seq 300); do
  kill -0 $server 2>/dev/null || { cat "$work/log"; die "the server stopped"; }
  python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/readyz', timeout=2)" 2>/dev/null && break
  sleep 0.2
done

say "The official OpenAI client"
venv=$ROOT/target/test-venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import openai' 2>/dev/null || "$venv/bin/pip" install -q openai
# The client always sends a key, and a key that is sent must be a true one.
key=$("$KEFU" key new openai-client --data "$work/data" 2>/dev/null)
KEFU_KEY=$key KEFU_URL=http://127.0.0.1:$port "$venv/bin/python" tests/openai_client.py

say "The web pages in Chromium"
printf 'test only: admin of a moment\n' | "$KEFU" user add e2e --role admin --password-stdin --data "$work/data"
(cd tests/e2e && npm ci --no-audit --no-fund --loglevel=error && KEFU_URL=http://127.0.0.1:$port \
  KEFU_ADMIN='e2e:test only: admin of a moment' KEFU_E2E_LONG_QUESTION="${KEFU_E2E_LONG_QUESTION-大额存单能提前取吗}" node --test --test-concurrency=1)

say "Without any network"
"$KEFU" doctor --airgap --data "$work/data" --model qwen2.5-coder-0.5b-instruct
say "Personal data in chats, imports, logs, metrics, a crash and a backup"
KEFU=$KEFU python3 tests/planted.py
say "The sample knowledge base answers its own questions (floors a few questions below what was measured)"
"$KEFU" eval kb --quote-only --data "$work/data" --json >"$work/eval.json"
python3 - "$work/eval.json" <<'PY'
import json, sys

report = json.load(open(sys.argv[1]))
floors = {"source_top3": 0.93, "refused_unanswerable": 0.8, "answered": 0.38, "citation_right": 0.79, "contains": 0.3,
          "shown_source": 0.83, "shown_contains": 0.75}
found = {name: report[name] for name in floors}
print(found, "numbers without a source:", report["unsupported_numbers"])
low = [f"{name} {found[name]:.3f} < {floor}" for name, floor in floors.items() if found[name] < floor]
if low or report["unsupported_numbers"]:
    sys.exit("the sample knowledge base answers worse than it did: " + ", ".join(low))
PY
say "Two readers answer, as the settings have it"
"$KEFU" ask "大额存单能提前取吗" --data "$work/data" --model qwen2.5-coder-0.5b-instruct
say "All tests passed"
