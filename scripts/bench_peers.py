"""Measures kefu and llama.cpp in turns and prints a table. Started by scripts/bench-peers.sh, which builds both."""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from bench_peers_http import Program, kefu_program, llama_program, measure_http

ROWS = ("prefill", "decode", "parallel", "rag", "clients", "start")
PREFILL = (128, 512, 1024, 2048)
DEPTH = (0, 1024)
PARALLEL = (1, 4, 8, 16)
# The order within a block: each subject has the same mean place, so that a machine that grows warmer or busier is even.
BLOCK = ("kefu", "kefu, 4 bits", "default", "tuned", "tuned", "default", "kefu, 4 bits", "kefu")


class Stop(Exception):
    """What is missing, in words."""


def command(arguments, **more):
    done = subprocess.run([str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        tail = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise Stop(f"{Path(str(arguments[0])).name} failed ({done.returncode}):\n{tail}")
    return done.stdout


def manifest_name(file):
    """kefu's name of a model file."""
    for manifest in ("models/manifest.toml", "models/local.toml"):
        if os.path.exists(manifest):
            for model in tomllib.loads(Path(manifest).read_text())["model"]:
                if model["file"] == Path(file).name:
                    return model["name"]
    raise Stop(f"{file} is in no manifest: run `kefu models import {file} --name NAME` first")


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


class Figures:
    """Every value by row and subject, in the order of the rows."""

    def __init__(self):
        self.rows = {}

    def add(self, row, unit, subject, value):
        if value is not None:
            self.rows.setdefault((row, unit), {}).setdefault(subject, []).append(value)

    def markdown(self, subjects):
        def cell(values):
            if not values:
                return "-"
            form = (lambda v: f"{v:.0f}") if median(values) >= 100 else (lambda v: f"{v:.1f}")
            return f"{form(median(values))} ({form(min(values))}..{form(max(values))})"

        lines = ["| | unit | " + " | ".join(subjects) + " |", "| --- | --- |" + " --- |" * len(subjects)]
        for (row, unit), by in self.rows.items():
            lines.append(f"| {row} | {unit} | " + " | ".join(cell(by.get(s, [])) for s in subjects) + " |")
        return "\n".join(lines)

    def json(self):
        return [
            {"row": row, "unit": unit, "values": by, "medians": {s: median(v) for s, v in by.items()}}
            for (row, unit), by in self.rows.items()
        ]


def engine_kefu(options, subject, name, parallel, figures):
    lengths = []
    if "prefill" in options.only:
        lengths += ["--prefill", ",".join(map(str, PREFILL))]
    if "decode" in options.only:
        lengths += ["--depth", ",".join(map(str, DEPTH))]
    if "parallel" in options.only:
        lengths += ["--parallel", ",".join(map(str, parallel))]
    if not lengths:
        return
    environment = dict(
        os.environ,
        KEFU_INFERENCE__THREADS=str(options.threads),
        KEFU_INFERENCE__PARALLEL_REQUESTS=str(max(parallel)),
        KEFU_INFERENCE__FOUR_BIT_WEIGHTS=str(subject != "kefu").lower(),
    )
    with tempfile.TemporaryDirectory() as data:
        arguments = [options.kefu, "bench", "engine", "--runs", 1, "--json", "--model", name, "--data", data, *lengths]
        rows = json.loads(command(arguments, env=environment))["rows"]
    for row in rows:
        kind, value = row["kind"], row["value"]
        if kind == "prefill":
            figures.add(f"prefill {row['tokens']} tokens", "tokens/s", subject, value)
        elif kind == "decode":
            figures.add(f"decode 64 tokens at depth {row['depth']}", "tokens/s", subject, value)
        else:
            add_parallel(figures, subject, kind, row["parallel"], value)


def add_parallel(figures, subject, kind, n, value):
    unit = "ms" if kind in ("parallel_first", "parallel_pause") else "tokens/s"
    what = {
        "parallel_generated": "tokens generated / whole time",
        "parallel_all": "tokens read and generated / whole time",
        "parallel_first": "first token p50",
        "parallel_pause": "longest pause of any",
    }[kind]
    figures.add(f"{n} at once, 512 in, 64 out: {what}", unit, subject, value)


def engine_llama(options, subject, file, parallel, figures):
    common = ["-m", file, "-t", options.threads]
    flash = ["-fa", "off"] if subject == "tuned" else []
    bench = options.peers / "build/bin/llama-bench"
    runs = []
    if "prefill" in options.only:
        runs.append(["-p", ",".join(map(str, PREFILL)), "-n", 0])
    if "decode" in options.only:
        runs.append(["-p", 0, "-n", 64, "-d", ",".join(map(str, DEPTH)), *flash])
    for run in runs:
        for row in json.loads(command([bench, *common, "-r", 1, "-o", "json", *run])):
            if row["n_gen"] == 0:
                name = f"prefill {row['n_prompt']} tokens"
            else:
                name = f"decode 64 tokens at depth {row['n_depth']}"
            figures.add(name, "tokens/s", subject, row["avg_ts"])
    batched = options.peers / "build/bin/llama-batched-bench"
    if "parallel" not in options.only or not batched.exists():
        return
    arguments = [batched, *common, "-tb", options.threads, "-c", max(parallel) * 640, "-npp", 512, "-ntg", 64]
    arguments += ["-npl", ",".join(map(str, parallel)), "--output-format", "jsonl", *flash]
    for line in command(arguments).splitlines():
        if not line.startswith("{"):
            continue
        row = json.loads(line)
        n = row["pl"]
        add_parallel(figures, subject, "parallel_generated", n, n * row["tg"] / row["t"])
        add_parallel(figures, subject, "parallel_all", n, row["speed"])
        # All prompts are read before the first token of any: what it calls t_pp is every sequence's time to that token.
        add_parallel(figures, subject, "parallel_first", n, row["t_pp"] * 1e3)


def requantised(options):
    """The tuned rival's file."""
    file = options.peers / "models" / f"{Path(options.model).stem}-pure-q4_0.gguf"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        quantize = options.peers / "build/bin/llama-quantize"
        command([quantize, "--allow-requantize", "--pure", options.model, part, "Q4_0", options.threads])
        part.rename(file)
    return file


def machine():
    cpu = Path("/proc/cpuinfo").read_text()
    model = next((l.split(":", 1)[1].strip() for l in cpu.splitlines() if l.startswith("model name")), "?")
    flags = next((l.split(":", 1)[1].split() for l in cpu.splitlines() if l.startswith("flags")), [])
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "extensions": [f for f in wanted if f in flags],
        "system": platform.platform(),
    }


def read_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--peers", required=True, type=Path)
    parser.add_argument("--kefu", default="target/release/kefu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--parallel", help="requests at once, separated by commas")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.only = options.only.split(",")
    unknown = [row for row in options.only if row not in ROWS]
    if unknown:
        parser.error(f"--only knows {', '.join(ROWS)}; not {', '.join(unknown)}")
    options.out = options.out or options.peers / "figures.json"
    return options


def report(options, figures, facts):
    """Writes what there is, also after an interruption."""
    options.out.write_text(json.dumps({**facts, "rows": figures.json()}, ensure_ascii=False, indent=1) + "\n")
    print(f"{facts['model']}, {facts['threads']} threads, {facts['machine']['processor']} "
          f"({' '.join(facts['machine']['extensions'])}), kefu {facts['commit']}, llama.cpp of {facts['llama']}; "
          f"load before {facts['load_before']:.1f}; median (min..max)\n")
    print(figures.markdown(("kefu", "kefu, 4 bits", "default", "tuned")))
    print(f"\nPrompts in tokens: {facts['prompt_tokens']}. JSON: {options.out}", flush=True)


def main():
    options = read_options()
    name = manifest_name(options.model)
    files = {"default": options.model, "tuned": requantised(options)}
    parallel = PARALLEL[:2] if options.quick else PARALLEL
    if options.parallel:
        parallel = tuple(map(int, options.parallel.split(",")))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    version = options.peers / "version"
    facts = {
        "model": name,
        "threads": options.threads,
        "machine": machine(),
        "commit": commit,
        "llama": version.read_text().strip() if version.exists() else "unknown",
        "load_before": os.getloadavg()[0],
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "prompt_tokens": {},
    }
    figures = Figures()
    blocks = BLOCK * (1 if options.quick else 2)
    try:
        for place, subject in enumerate(blocks):
            print(f"[{place + 1}/{len(blocks)}] {subject}", file=sys.stderr, flush=True)
            if subject.startswith("kefu"):
                engine_kefu(options, subject, name, parallel, figures)
                if subject != "kefu":
                    continue
                program: Program = kefu_program(options, name)
            else:
                engine_llama(options, subject, files[subject], parallel, figures)
                program = llama_program(options, subject, files[subject])
            # The same prompts for each subject of one turn; other ones for the next turn.
            measure_http(options, program, blocks[:place].count(subject), figures, facts)
    except KeyboardInterrupt:
        print("interrupted; what was measured so far:", file=sys.stderr)
        report(options, figures, facts)
        return 130
    report(options, figures, facts)
    return 0


if __name__ == "__main__":
    # A termination is an interruption: servers are ended and what was measured is printed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main())
    except Stop as error:
        sys.exit(f"kefu: {error}")
