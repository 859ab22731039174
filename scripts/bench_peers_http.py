"""The rows that are measured over HTTP, from the outside, alike for every program."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

# Characters of the passages of one prompt; about 950 tokens with the instructions.
PASSAGE_CHARS = 300
PASSAGES = 4
CLIENTS = 8
RUNNING = 2
ANSWER_TOKENS = 48
READY_SECONDS = 120
# What a slot of llama-server holds: a prompt and its answer, with room.
SLOT_TOKENS = 2048

SYSTEM = "你是客服。只根据下面的资料回答，资料里没有的就说不知道。"
QUESTIONS = ("这些规定里最重要的一条是什么？", "办理时需要带哪些证件？", "有哪些费用？请逐项说明。", "多久可以办好？")


@dataclass
class Program:
    """A server that is measured."""

    subject: str
    arguments: list
    model: str
    ready_path: str
    port: int
    environment: dict = field(default_factory=dict)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kefu_program(options, name):
    port = free_port()
    environment = {
        "KEFU_INFERENCE__THREADS": str(options.threads),
        "KEFU_INFERENCE__PARALLEL_REQUESTS": str(CLIENTS + RUNNING),
    }
    arguments = [options.kefu, "serve", "--model", name, "--listen", f"127.0.0.1:{port}", "--data", "{data}"]
    return Program("kefu", arguments, name, "/readyz", port, environment)


def llama_program(options, subject, file):
    port = free_port()
    slots = CLIENTS + RUNNING
    arguments = [options.peers / "build/bin/llama-server", "-m", file, "-t", options.threads, "-tb", options.threads]
    arguments += ["--host", "127.0.0.1", "--port", port, "-np", slots, "-c", slots * SLOT_TOKENS]
    if subject == "tuned":
        arguments += ["-fa", "off"]
    return Program(subject, arguments, "m", "/health", port)


@contextmanager
def running(program):
    """The program, ready; yields its process id and the seconds it took. It is ended whatever happens."""
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryFile() as log:
        arguments = [str(a).replace("{data}", data) for a in program.arguments]
        began = time.monotonic()
        process = subprocess.Popen(
            arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **program.environment}
        )
        try:
            while not is_ready(program):
                if process.poll() is not None or time.monotonic() - began > READY_SECONDS:
                    log.seek(0)
                    tail = log.read().decode(errors="replace").strip().splitlines()[-8:]
                    raise SystemExit(f"kefu: {program.subject}'s server is not ready:\n" + "\n".join(tail))
                time.sleep(0.01)
            yield process.pid, time.monotonic() - began
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def is_ready(program):
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=5)
    try:
        connection.request("GET", program.ready_path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@dataclass
class Answer:
    first: float
    """Seconds to the first words."""
    gaps: list
    """When each later piece came, and the seconds since the piece before it."""
    prompt_tokens: int
    pieces: int


def ask(program, messages, max_tokens, on_first=None):
    """One streamed answer."""
    body = {
        "model": program.model, "messages": messages, "max_tokens": max_tokens, "temperature": 0,
        "stream": True, "stream_options": {"include_usage": True},
    }
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=600)
    began = time.monotonic()
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{program.subject}: status {response.status}: {response.read(500).decode(errors='replace')}")
        first, last, gaps, usage, pieces = None, None, [], {}, 0
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            now = time.monotonic()
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise RuntimeError(f"{program.subject}: {chunk['error']}")
            usage = chunk.get("usage") or usage
            if not any(choice["delta"].get("content") for choice in chunk.get("choices", [])):
                continue
            pieces += 1
            if first is None:
                first = now - began
                if on_first:
                    on_first()
                    now = time.monotonic()
            else:
                gaps.append((now, now - last))
            last = now
        if first is None:
            raise RuntimeError(f"{program.subject} answered nothing")
        return Answer(first, gaps, usage.get("prompt_tokens", 0), pieces)
    finally:
        connection.close()


def passages():
    """Pieces of the sample knowledge base, all different."""
    found = []
    for file in sorted(Path("kb/docs").rglob("*.md")):
        if file.parent.name == "en":
            continue
        text = re.sub(r"\s+", " ", file.read_text())
        found += [text[at : at + PASSAGE_CHARS] for at in range(0, len(text) - PASSAGE_CHARS + 1, PASSAGE_CHARS)]
    return found


def prompt(pieces, question, nonce):
    """A prompt as kefu's dialogue makes it: instructions, passages, question. `nonce` stands first, so that nothing of an
    earlier prompt can be reused where that is not the subject."""
    numbered = "\n\n".join(f"[{n}] {piece}" for n, piece in enumerate(pieces, 1))
    return [
        {"role": "system", "content": f"（{nonce}）{SYSTEM}\n\n{numbered}"},
        {"role": "user", "content": question},
    ]


def at_once(jobs):
    """Runs the jobs in threads of their own and returns what they return, or raises what one raised."""
    results, faults = [None] * len(jobs), []

    def run(place, job):
        try:
            results[place] = job()
        except BaseException as fault:  # noqa: BLE001  (raised again below)
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(n, job), daemon=True) for n, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return results


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(p * 100) * len(ordered) // 100) - 1))]


def resident(pid):
    """Megabytes of memory in use, and without the pages of mapped files."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = {key: int(re.search(rf"^{key}:\s+(\d+)", status, re.M)[1]) for key in ("VmRSS", "RssAnon")}
    return kib["VmRSS"] / 1024, kib["RssAnon"] / 1024


def measure_http(options, program, turn, figures, facts):
    if not {"rag", "clients", "start"} & set(options.only):
        return
    random = Random(1000 + turn)
    pool = passages()
    with running(program) as (pid, seconds):
        def add(row, unit, value):
            figures.add(row, unit, program.subject, value)

        if "start" in options.only:
            add("start to ready", "s", seconds)
        ask(program, [{"role": "user", "content": "你好"}], 4)
        if "rag" in options.only:
            rag(program, random, pool, add, facts)
        if "clients" in options.only:
            clients(program, random, pool, add)
        if "start" in options.only:
            rss, anonymous = resident(pid)
            add("resident memory after the rows above", "MB", rss)
            add("of it not mapped files", "MB", anonymous)


def rag(program, random, pool, add, facts):
    pieces = random.sample(pool, PASSAGES)
    other = pieces[::-1]
    nonce = f"{random.getrandbits(40):x}"
    same = prompt(pieces, QUESTIONS[0], nonce)
    for row, messages in (
        ("cold", same),
        ("the same again", same),
        ("same passages, new question", prompt(pieces, QUESTIONS[1], nonce)),
        ("same passages in another order", prompt(other, QUESTIONS[0], nonce)),
    ):
        answer = ask(program, messages, 8)
        facts["prompt_tokens"].setdefault(program.subject, []).append(answer.prompt_tokens)
        add(f"HTTP, passages, to the first token: {row}", "ms", answer.first * 1e3)


def clients(program, random, pool, add):
    """Clients that come all at once while some streams run."""
    begun = threading.Barrier(RUNNING + 1)
    count = [{"role": "user", "content": "从1数到200，每个数字一行，不要省略。"}]
    window = {}

    def stream():
        waited = []

        def first():
            waited.append(True)
            begun.wait(120)

        return ask(program, count, 400, first)

    def crowd():
        begun.wait(120)
        window["from"] = time.monotonic()
        jobs = []
        for n in range(CLIENTS):
            messages = prompt(random.sample(pool, PASSAGES), QUESTIONS[n % len(QUESTIONS)], f"{random.getrandbits(40):x}")
            jobs.append(lambda messages=messages: ask(program, messages, ANSWER_TOKENS))
        answers = at_once(jobs)
        window["to"] = time.monotonic()
        return answers

    *streams, answers = at_once([stream] * RUNNING + [crowd])
    firsts = [answer.first * 1e3 for answer in answers]
    add(f"HTTP, {CLIENTS} clients at once: first token p50", "ms", percentile(firsts, 0.5))
    add(f"HTTP, {CLIENTS} clients at once: first token p99", "ms", percentile(firsts, 0.99))
    # A pause that began before the crowd came belongs to it only where it ended after.
    pauses = [gap for answer in streams for at, gap in answer.gaps if window["from"] <= at <= window["to"] + 1]
    add(f"HTTP, longest pause of {RUNNING} running streams meanwhile", "ms", max(pauses, default=0) * 1e3 or None)
