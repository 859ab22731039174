#!/usr/bin/env python3
"""How long customers wait at the HTTP boundary for what needs no language model, with nothing else going on and while answers are
being generated: FAQ turns (an approved answer in other words, and in its own) and flow turns, from the request's first byte
to the reply's last event.

    scripts/bench-service.py [--kefu target/release/kefu] [--model qwen2.5-coder-0.5b-instruct] [--generations 4] [--turns 300]

Imports kb/ into a folder of its own, starts the server with its own settings there, and prints one JSON document. Needs Python 3
alone.
"""
import argparse
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Wordings of the sample base, as customers put them and as they stand there; the first three turns of a flow's dialogue, and a
# cancel. None is answered by the language model.
OWN = ["三年定期利率是多少？", "小孩可以办银行卡吗？", "理财几点之前买算当天？", "收不到验证码怎么办？", "How do I switch the app to English?"]
OTHER = ["儿子八岁，压岁钱想单独存张卡里，可以给他开吗？", "下午四点买的理财算今天的还是明天的？", "验证码老是收不到咋回事",
         "my app is all in Chinese, how do I change it", "您好，请问我换了新手机号码，旧号还在用，怎么改银行留的那个号？谢谢"]
FLOW = ["我要挂失银行卡", "借记卡", "尾号1234", "不办了"]
LONG = "请写一篇一千字的短文，介绍一个人怎样学会游泳，从害怕下水写起。"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Visitor:
    """A conversation over a connection that stays open, as a browser's does."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.begin()

    def begin(self):
        self.connection.request("POST", "/api/v1/conversations")
        reply = json.loads(self.connection.getresponse().read())
        self.path = f"/api/v1/conversations/{reply['id']}/messages"
        self.headers = {"Authorization": f"Bearer {reply['visitor_token']}", "Content-Type": "application/json"}

    def say(self, text):
        """The route and the milliseconds until the reply is complete."""
        began = time.perf_counter()
        self.connection.request("POST", self.path, json.dumps({"text": text}), self.headers)
        reply = self.connection.getresponse()
        events = reply.read().decode()
        took = (time.perf_counter() - began) * 1e3
        if reply.status != 200:
            sys.exit(f"{reply.status} to {text!r}: {events[:300]}")
        route = None
        name = None
        for line in events.splitlines():
            if line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:") and name == "route":
                route = json.loads(line[5:])["route"]
        return route, took


class Generations:
    """Answers being written all the time, by so many clients at once."""

    def __init__(self, port, key, model, count):
        self.port, self.key, self.model, self.tokens, self.stopped, self.failed = port, key, model, 0, threading.Event(), None
        self.threads = [threading.Thread(target=self.generate, args=(n,), daemon=True) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def generate(self, n):
        while not self.stopped.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
            body = {"model": self.model, "stream": True, "max_tokens": 512, "temperature": 0.8, "seed": n,
                    "messages": [{"role": "user", "content": f"{LONG}（{n}）"}]}
            connection.request("POST", "/v1/chat/completions", json.dumps(body),
                               {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"})
            reply = connection.getresponse()
            if reply.status != 200:
                self.failed = f"{reply.status} to a generation: {reply.read()[:300]}"
                return
            for line in reply:
                self.tokens += line.startswith(b"data:")
                if self.stopped.is_set():
                    break
            connection.close()

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)


def flows_config(folder):
    """Settings in which the sample flows are on; nothing of what they would call is called in the turns that are measured."""
    tools = set()
    for name in os.listdir(os.path.join(ROOT, "kb/flows")):
        with open(os.path.join(ROOT, "kb/flows", name)) as file:
            tools |= set(re.findall(r'tool = "([a-z_]+)"', file.read()))
    path = os.path.join(folder, "kefu.toml")
    with open(path, "w") as file:
        file.write('[dialogue]\nflows = "kb/flows"\n')
        for tool in sorted(tools):
            file.write(f'[tools.{tool}]\nurl = "http://127.0.0.1:9/{tool}"\nmethod = "POST"\ntimeout_ms = 1000\n')
    return path


def figures(times):
    times = sorted(times)
    at = lambda share: round(times[min(len(times) - 1, int(share * len(times)))], 1)
    return {"n": len(times), "p50": at(0.5), "p99": at(0.99), "most": round(times[-1], 1)} if times else {"n": 0}


def measure(port, turns):
    """Turns by kind, every one in the ways that customers put them, and how they were answered."""
    # A question within a flow is answered within it: who asks and who is in a flow are two people.
    asks, flows = Visitor(port), Visitor(port)
    times = {"faq in its own words": [], "faq in other words": [], "flow": []}
    other_routes = []
    for turn in range(turns):
        if turn % 20 == 0:
            asks.begin()
        for kind, texts, wanted in (("faq in its own words", OWN, "faq"), ("faq in other words", OTHER, "faq"), ("flow", FLOW, "flow")):
            # Other wordings each time, or a cache would answer.
            text = texts[turn % len(texts)] + ("。" * (turn // len(texts) % 3) + "请讲" * (turn // len(texts) // 3 % 2) if kind == "faq in other words" else "")
            if kind == "flow" and turn % len(FLOW) == 0:
                flows.begin()
            route, took = (flows if kind == "flow" else asks).say(text)
            if route == wanted:
                times[kind].append(took)
            else:
                other_routes.append([text, route])
    return {kind: figures(all) for kind, all in times.items()} | {"answered otherwise": other_routes[:5], "of these": len(other_routes)}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kefu", default=os.path.join(ROOT, "target/release/kefu"))
    options.add_argument("--model", default="qwen2.5-coder-0.5b-instruct")
    options.add_argument("--generations", type=int, default=4)
    options.add_argument("--turns", type=int, default=100)
    options.add_argument("--config", help="settings other than the defaults")
    asked = options.parse_args()
    if not os.access(asked.kefu, os.X_OK):
        sys.exit(f"{asked.kefu} is not there: cargo build --release first, or name the program with --kefu")
    folder = tempfile.mkdtemp()
    data, port = os.path.join(folder, "data"), free_port()
    settings = ["--config", asked.config or flows_config(folder)]
    server = None
    try:
        run = lambda *words: subprocess.run([asked.kefu, *words, "--data", data, *settings], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        run("kb", "import", "kb")
        key = run("key", "new", "bench").strip()
        log = open(os.path.join(folder, "log"), "w")
        server = subprocess.Popen([asked.kefu, "serve", "--data", data, "--model", asked.model, "--listen", f"127.0.0.1:{port}", *settings], cwd=ROOT, stderr=log)
        for _ in range(600):
            if server.poll() is not None:
                sys.exit(open(os.path.join(folder, "log")).read())
            try:
                if urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).status == 200:
                    break
            except OSError:
                time.sleep(0.1)
        measure(port, 6)
        report = {"model": asked.model, "unit": "ms", "idle": measure(port, asked.turns)}
        generations = Generations(port, key, asked.model, asked.generations)
        time.sleep(3)
        if generations.failed or not generations.tokens:
            sys.exit(generations.failed or "nothing is generated")
        before, began = generations.tokens, time.perf_counter()
        report[f"while {asked.generations} answers are generated"] = measure(port, asked.turns)
        report["generated, tokens/s"] = round((generations.tokens - before) / (time.perf_counter() - began), 1)
        generations.stop()
        print(json.dumps(report, ensure_ascii=False, indent=1))
    finally:
        if server:
            server.terminate()
            server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
