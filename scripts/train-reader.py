#!/usr/bin/env python3
"""Trains the reader: does a passage answer a question, and where?

    python3 -m venv venv && venv/bin/pip install torch tokenizers gguf numpy
    venv/bin/python scripts/train-reader.py --encoder models/e5-small-q4.bin --out reader.gguf

The encoder of multilingual-e5-small is trained on as a cross-encoder over `<s> query: Q </s></s> passage: TITLE TEXT </s>`
with two heads: one number that says whether the passage answers (binary cross-entropy), and two scores a token for the
beginning and the end of the answer (cross-entropy, where it answers). The embeddings of words and positions stay as they
are, so the program needs them once. An epoch took a quarter of an hour on two cores with AVX-512 BF16. Writes the layers
as GGUF.
"""

import argparse
import glob
import hashlib
import json
import os
import random
import sys
import struct
import time

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from gguf import GGMLQuantizationType, quants
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import nn

MAX_TOKENS, MAX_QUESTION, MAX_TITLE = 384, 96, 48  # as in src/inference/encoder/reader.rs


class Encoder:
    """The container of the embedding model; see src/inference/encoder/container.rs."""

    def __init__(self, path):
        self.data = open(path, "rb").read()
        self.sha256 = hashlib.sha256(self.data).hexdigest()
        at = 8
        read = lambda form: struct.unpack_from("<" + form, self.data, at)
        self.hidden, self.layers, self.heads, self.wide, self.words, self.places, _ = read("7i")
        at += 28
        self.epsilon = read("f")[0]
        at += 8
        count, self.begin, self.end, self.pad, self.unknown = read("5i")
        at += 20
        size = read("Q")[0]
        at += 8
        bounds = np.frombuffer(self.data, "<u4", count + 1, at)
        at += 4 * (count + 1)
        scores = np.frombuffer(self.data, "<f4", count, at)
        at += 4 * count
        pieces = [self.data[at + a : at + b].decode() for a, b in zip(bounds, bounds[1:])]
        at += size
        entries, _ = read("iI")
        at += 8
        self.replaced = {}
        for _ in range(entries):
            code, length = read("IB")
            at += 5
            self.replaced[chr(code)] = "".join(map(chr, read(f"{length}I")))
            at += 4 * length
        tensors = read("i")[0]
        at += 4
        self.tensors = {}
        for _ in range(tensors):
            length = read("H")[0]
            at += 2
            name = self.data[at : at + length].decode()
            at += length
            self.tensors[name] = read("BIQQ")
            at += 21
        self.unigram = Tokenizer(models.Unigram(list(zip(pieces, map(float, scores))), self.unknown, False))
        self.unigram.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
        self.unigram.pre_tokenizer = pre_tokenizers.Metaspace()

    def tensor(self, name):
        kind, count, offset, size = self.tensors[name]
        if kind == 0:
            return torch.tensor(np.frombuffer(self.data, "<f4", count, offset))
        blocks = np.frombuffer(self.data, np.uint8, size, offset).reshape(-1, 18)
        numbers = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], 1).astype(np.float32) - 8
        return torch.tensor((numbers * blocks[:, :2].copy().view("<f2").astype(np.float32)).reshape(-1))

    def ids(self, text, answer=None):
        """Token ids, and the first and last token of `answer` in `text`."""
        parts = [self.replaced.get(c, c) for c in text]
        origin = [i for i, part in enumerate(parts) for _ in part]
        encoded = self.unigram.encode("".join(parts))
        if not answer:
            return encoded.ids, None
        begin = text.find(answer)
        inside = [
            token
            for token, (a, b) in enumerate(encoded.offsets)
            if b > a and origin[b - 1] >= begin and origin[a] < begin + len(answer)
        ]
        return encoded.ids, (inside[0], inside[-1]) if inside else None

    def pair(self, question, title, text, answer=None):
        head = [self.begin, *self.ids("query: " + question)[0][:MAX_QUESTION], self.end, self.end]
        head += self.ids("passage: " + title)[0][:MAX_TITLE]
        body, span = self.ids(text, answer)
        ids = (head + body)[: MAX_TOKENS - 1] + [self.end]
        if span:
            span = (span[0] + len(head), span[1] + len(head))
            span = span if span[1] < MAX_TOKENS - 1 else None
        return ids, span


PARTS = ("q", "k", "v", "ao", "fi", "fo")
NORMS = ("aln", "oln")


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.heads = shape.heads
        for part in ("q", "k", "v", "ao"):
            setattr(self, part, nn.Linear(shape.hidden, shape.hidden))
        self.fi = nn.Linear(shape.hidden, shape.wide)
        self.fo = nn.Linear(shape.wide, shape.hidden)
        self.aln = nn.LayerNorm(shape.hidden, shape.epsilon)
        self.oln = nn.LayerNorm(shape.hidden, shape.epsilon)

    def forward(self, x, mask):
        batch, tokens, hidden = x.shape
        split = lambda y: y.view(batch, tokens, self.heads, -1).transpose(1, 2)
        scores = split(self.q(x)) @ split(self.k(x)).transpose(2, 3) * (hidden // self.heads) ** -0.5 + mask
        attended = (scores.softmax(-1) @ split(self.v(x))).transpose(1, 2).reshape(batch, tokens, hidden)
        x = self.aln(x + self.ao(attended))
        return self.oln(x + self.fo(F.gelu(self.fi(x))))


class Reader(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.pad, self.unknown, hidden = encoder.pad, encoder.unknown, encoder.hidden
        table = lambda name: encoder.tensor(name).reshape(-1, hidden)
        self.register_buffer("words", table("emb.word"), persistent=False)
        self.register_buffer("places", table("emb.pos") + table("emb.type")[0], persistent=False)
        self.norm = nn.LayerNorm(hidden, encoder.epsilon)
        self.layers = nn.ModuleList(Layer(encoder) for _ in range(encoder.layers))
        self.head, self.span = nn.Linear(2 * hidden, 1), nn.Linear(hidden, 2)
        nn.init.normal_(self.head.weight, 0, 0.02)
        nn.init.normal_(self.span.weight, 0, 0.02)
        for name, parameter in self.of_encoder():
            parameter.data = encoder.tensor(name).reshape(parameter.shape)

    def of_encoder(self):
        """The parameters by their names in both files."""
        yield from (("emb.ln.w", self.norm.weight), ("emb.ln.b", self.norm.bias))
        for number, layer in enumerate(self.layers):
            for part in PARTS + NORMS:
                module = getattr(layer, part)
                yield from ((f"l{number}.{part}.w", module.weight), (f"l{number}.{part}.b", module.bias))

    def forward(self, ids):
        real = ids != self.pad
        if self.training:  # One word in twenty is hidden: the only noise; dropout is slow on a CPU.
            ids = torch.where((torch.rand(ids.shape) < 0.05) & (ids > 3), self.unknown, ids)
        x = self.norm(self.words[ids] + self.places[: ids.shape[1]])
        mask = torch.where(real, 0.0, -1e4).to(torch.bfloat16)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        weight = real.to(x.dtype)[..., None]
        mean = (x * weight).sum(1) / weight.sum(1)
        both = F.dropout(torch.cat([x[:, 0], mean], -1), 0.1, self.training)
        scores = self.span(x).float().masked_fill(~real[..., None], -1e4)
        return self.head(both).squeeze(-1).float(), scores

    def write(self, path, encoder, version):
        out = gguf.GGUFWriter(path, "kefu-reader")
        out.add_string("general.version", version)
        out.add_string("kefu-reader.encoder_sha256", encoder.sha256)
        heads = [("head.w", self.head.weight), ("head.b", self.head.bias), ("span.w", self.span.weight)]
        for name, parameter in [*self.of_encoder(), *heads]:
            numbers = parameter.detach().float().numpy()
            if name.endswith(".w") and name[0] == "l" and numbers.ndim == 2:
                q8 = GGMLQuantizationType.Q8_0
                out.add_tensor(name, quants.quantize(numbers, q8), raw_dtype=q8)
            else:
                out.add_tensor(name, numbers.reshape(-1))
        out.write_header_to_file()
        out.write_kv_data_to_file()
        out.write_tensors_to_file()
        out.close()


def batches(samples, tokens, shuffle):
    """Groups of samples of like length, at most `tokens` each with padding."""
    order = list(range(len(samples)))
    length = lambda i: len(samples[i][0])
    if shuffle:
        random.shuffle(order)
        order = [i for at in range(0, len(order), 2000) for i in sorted(order[at : at + 2000], key=length)]
    else:
        order.sort(key=length)
    groups, longest = [[]], 0
    for i in order:
        longest = max(longest, length(i))
        if groups[-1] and longest * (len(groups[-1]) + 1) > tokens:
            groups.append([])
            longest = length(i)
        groups[-1].append(i)
    if shuffle:
        random.shuffle(groups)
    return groups


def padded(samples, group, pad):
    width = max(len(samples[i][0]) for i in group)
    return torch.tensor([samples[i][0] + [pad] * (width - len(samples[i][0])) for i in group])


def auc(right, wrong):
    right, wrong = np.array(right)[:, None], np.array(wrong)[None]
    return float(np.mean((right > wrong) + 0.5 * (right == wrong)))


def evaluate(model, samples, kinds):
    model.eval()
    scores = [0.0] * len(samples)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for group in batches(samples, 8192, False):
            for i, score in zip(group, model(padded(samples, group, model.pad))[0].tolist()):
                scores[i] = score
    model.train()
    right = [s for s, kind in zip(scores, kinds) if kind is None]
    wrong = {kind: [s for s, k in zip(scores, kinds) if k == kind] for kind in {*kinds} - {None}}
    by_kind = {kind: round(auc(right, found), 3) for kind, found in sorted(wrong.items())}
    return auc(right, sum(wrong.values(), [])), by_kind


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--training", default="models/reader/training")
    parser.add_argument("--held-out", default="mx", help="the file that is only measured on")
    parser.add_argument("--out", required=True)
    parser.add_argument("--version", default=time.strftime("%Y-%m-%d"))
    parser.add_argument("--init", help="weights to go on from (what --weights wrote)")
    parser.add_argument("--weights", help="write the weights there too")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)

    encoder = Encoder(args.encoder)
    units = []
    for path in sorted(glob.glob(os.path.join(args.training, "*.jsonl"))):
        name = os.path.basename(path).removesuffix(".jsonl")
        units += [dict(json.loads(line), file=name) for line in open(path, encoding="utf8") if line.strip()]
    pairs = lambda units: [(question, unit) for unit in units for question in unit["questions"]]
    encode = lambda q, unit, label, answer=None: (
        lambda ids, span: (ids, float(label), span)
    )(*encoder.pair(q, unit["title"], unit["text"], answer))
    own = lambda question, unit: encode(question["q"], unit, question["label"], question.get("evidence"))
    held = pairs([unit for unit in units if unit["file"] == args.held_out])
    train = pairs([unit for unit in units if unit["file"] != args.held_out])
    if not held or not train:
        sys.exit(f"{args.training}: no pairs to train on, or none in {args.held_out}.jsonl to measure on")
    held_samples = [own(*pair) for pair in held]
    held_kinds = [question.get("why") for question, _ in held]
    files = {}
    for _, unit in train:
        files.setdefault(unit["file"], []).append(unit)

    def samples():
        """Every pair, and a quarter as many questions with a passage that is not theirs, half of them of a like company."""
        found = [own(*pair) for pair in train]
        answered = [pair for pair in train if pair[0]["label"]]
        for _ in range(len(train) // 4):
            question, unit = random.choice(answered)
            other = random.choice(files[unit["file"]]) if random.random() < 0.5 else random.choice(train)[1]
            if other["text"] != unit["text"]:
                found.append(encode(question["q"], other, 0))
        return found

    model = Reader(encoder)
    if args.init:
        model.load_state_dict(torch.load(args.init))
    heads = [*model.head.parameters(), *model.span.parameters()]
    decayed = [p for name, p in model.of_encoder() if p.dim() == 2]
    plain = [p for name, p in model.of_encoder() if p.dim() == 1]
    rates = (args.rate, args.rate, 10 * args.rate)
    groups = zip((decayed, plain, heads), (0.01, 0.0, 0.01), rates)
    optimiser = torch.optim.AdamW([{"params": p, "weight_decay": d, "lr": r} for p, d, r in groups])
    steps = len(batches(samples(), args.batch_tokens, True)) * args.epochs
    print(f"{len(train)} pairs to train on, {len(held)} held out, {steps} steps", flush=True)
    step, began = 0, time.time()
    for epoch in range(args.epochs):
        data = samples()
        for group in batches(data, args.batch_tokens, True):
            factor = min(1, (step + 1) / (0.1 * steps)) * max(0, 1 - step / steps)
            for options, rate in zip(optimiser.param_groups, rates):
                options["lr"] = rate * factor
            with torch.autocast("cpu", torch.bfloat16):
                log_odds, scores = model(padded(data, group, encoder.pad))
            loss = F.binary_cross_entropy_with_logits(log_odds, torch.tensor([data[i][1] for i in group]))
            spans = [(row, data[i][2]) for row, i in enumerate(group) if data[i][2]]
            if spans:
                rows = torch.tensor([row for row, _ in spans])
                ends = torch.tensor([span for _, span in spans])
                both = sum(F.cross_entropy(scores[rows, :, end], ends[:, end]) for end in (0, 1)) / 2
                loss = loss + 0.5 * both * len(spans) / len(group)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            step += 1
            if step % 20 == 0:
                print(f"step {step} loss {loss.item():.3f} {time.time() - began:.0f} s", flush=True)
        model.write(args.out, encoder, args.version)
        if args.weights:
            torch.save(model.state_dict(), args.weights)
        area, kinds = evaluate(model, held_samples, held_kinds)
        print(f"epoch {epoch + 1}: area under the ROC curve on {args.held_out} {area:.4f} {kinds}", flush=True)


if __name__ == "__main__":
    main()
