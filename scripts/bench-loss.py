#!/usr/bin/env python3
"""What rounding costs, beside llama.cpp: the share of positions where a program holds the same token likeliest as single
precision does, and perplexity.

    scripts/bench-loss.py MODEL.gguf MODEL-F32.gguf TEXT... [--first N] [--tuned Q4_0.gguf]   (absolute paths: cargo runs the bench elsewhere)

MODEL-F32.gguf holds the same weights without rounding (llama-quantize --allow-requantize MODEL.gguf MODEL-F32.gguf F32);
llama.cpp computes it with keys and values in single precision too: that is the reference. Needs the Python package
llama-cpp-python, and cargo for `cargo bench --bench loss`. Every text is cut into windows of 256 tokens; the first 16
positions of a window, which have little to go by, are left out."""

import argparse
import json
import math
import subprocess

import llama_cpp
import numpy as np

SKIP = 16


def kefu(model, texts, *flags):
    command = ["cargo", "bench", "--locked", "--bench", "loss", "--", model, *texts, *flags]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def llama(model, windows, exact):
    # 0 is GGML_TYPE_F32; otherwise llama.cpp's own choice.
    kind = {"type_k": 0, "type_v": 0} if exact else {}
    size = len(windows[0]["tokens"])
    engine = llama_cpp.Llama(
        model, n_ctx=size, n_batch=size, n_ubatch=size, logits_all=True, n_threads=2, n_threads_batch=2, verbose=False, **kind
    )
    found = []
    for window in windows:
        engine.reset()
        engine.eval(window["tokens"])
        logits = np.array(engine.scores[:size], dtype=np.float64)
        top = logits.max(axis=1)
        total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        said = logits[np.arange(size - 1), window["tokens"][1:]] - total[:-1]
        order = np.argsort(logits[:-1], axis=1)
        second = logits[np.arange(size - 1), order[:, -2]]
        found.append({"logprobs": said, "best": order[:, -1].copy(), "gap": top[:-1] - second})
    return found


def perplexity(windows):
    return math.exp(-np.mean([value for window in windows for value in window["logprobs"][SKIP:]]))


def agreement(windows, reference):
    same = [
        mine == theirs
        for window, other in zip(windows, reference)
        for mine, theirs in zip(window["best"][SKIP:], other["best"][SKIP:])
    ]
    share = sum(same) / len(same)
    return share, 1.96 * math.sqrt(share * (1 - share) / len(same)), len(same)


def first(windows, count):
    """The first windows of each text."""
    taken, out = {}, []
    for window in windows:
        taken[window["text"]] = taken.get(window["text"], 0) + 1
        if taken[window["text"]] <= count:
            out.append(window)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("exact")
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--tuned", help="the same weights in Q4_0 (llama-quantize --pure MODEL.gguf TUNED.gguf Q4_0)")
    parser.add_argument("--first", type=int, default=5, help="windows of each text that are taken (default 5)")
    arguments = parser.parse_args()
    windows = first(kefu(arguments.model, arguments.texts), arguments.first)
    reference = llama(arguments.exact, windows, True)
    rows = [
        ("single precision", reference),
        ("kefu", windows),
        ("llama.cpp", llama(arguments.model, windows, False)),
        ("kefu, four_bit_weights", first(kefu(arguments.model, arguments.texts, "--four-bits"), arguments.first)),
    ]
    if arguments.tuned:
        rows.append(("llama.cpp, Q4_0", llama(arguments.tuned, windows, False)))
    print("| | same likeliest token | perplexity |\n| --- | --- | --- |")
    for name, found in rows:
        share, interval, count = agreement(found, reference)
        print(f"| {name} | {100 * share:.2f} % ± {100 * interval:.2f} (n = {count}) | {perplexity(found):.4f} |")


if __name__ == "__main__":
    main()
