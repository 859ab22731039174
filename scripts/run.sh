#!/usr/bin/env bash
# From a clean clone to a running server with its first answer on the screen. Run again, it starts within seconds.
#
#   scripts/run.sh [--model NAME] [--offline] [--listen ADDRESS:PORT]
#
#   --model NAME   the language model (see `kefu models list`); default: by memory
#   --offline      fetch nothing; everything must be there already
#   --listen A:P   default 127.0.0.1:8787
set -euo pipefail
. "$(dirname "$0")/lib.sh"

OFFLINE=0
LISTEN=127.0.0.1:8787
MODEL=auto
while [ $# -gt 0 ]; do
  case $1 in
    --offline) OFFLINE=1 ;;
    --model) MODEL=${2:?--model needs a name}; shift ;;
    --listen) LISTEN=${2:?--listen needs ADDRESS:PORT}; shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "unknown option $1; see scripts/run.sh --help" >&2; exit 2 ;;
  esac
  shift
done
export OFFLINE

need_tools
build_pages
say "Building kefu / 正在编译 kefu（first time: some minutes）"
cargo_flags=(--release --locked --quiet)
[ $OFFLINE = 1 ] && cargo_flags+=(--offline)
cargo build "${cargo_flags[@]}"
KEFU=$ROOT/target/release/kefu

if [ $OFFLINE = 0 ]; then
  "$KEFU" models pull --model "$MODEL" --defaults
fi
"$KEFU" kb import kb
"$KEFU" serve --model "$MODEL" --listen "$LISTEN" &
SERVER=$!
trap 'kill -TERM $SERVER 2>/dev/null; wait $SERVER' INT TERM
trap 'kill -TERM $SERVER 2>/dev/null || true' EXIT

QUESTION=信用卡丢了怎么挂失？
python3 - "$LISTEN" "$QUESTION" "$SERVER" <<'PY' || true
import json, os, sys, time, urllib.request
listen, question, server = sys.argv[1], sys.argv[2], int(sys.argv[3])
base = "http://" + listen
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for _ in range(600):
    try:
        os.kill(server, 0)
    except OSError:
        sys.exit("kefu: the server has stopped; its message stands above / 服务已退出，原因见上")
    try:
        if opener.open(base + "/readyz", timeout=2).status == 200:
            break
    except OSError:
        time.sleep(0.2)
else:
    sys.exit("kefu: the server is not ready after two minutes: run `kefu doctor`")
request = urllib.request.Request(base + "/api/v1/ask", json.dumps({"question": question}).encode(), {"content-type": "application/json"})
reply = json.load(opener.open(request, timeout=600))
print(f"\n问: {question}\n答: {reply['answer']}")
for citation in reply["citations"]:
    print(f"    [{citation['n']}] {citation['title']}")
print(f"    ({reply['route']}, {reply['timings_ms']['total']} ms)")
print(f"\nChat page / 聊天页面:  {base}/\nStop with Ctrl-C / 按 Ctrl-C 停止\n", flush=True)
PY
wait $SERVER
