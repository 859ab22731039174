#!/usr/bin/env python3
"""Trains the reader: does a passage answer a question, and where? And do two questions ask the same?

    python3 -m venv venv && venv/bin/pip install torch tokenizers gguf numpy
    venv/bin/python scripts/train-reader.py --encoder models/e5-small-q4.bin --out reader.gguf

The encoder of multilingual-e5-small is trained on as a cross-encoder over `<s> query: Q </s></s> passage: TITLE TEXT </s>`
with two heads: one number that says whether the passage answers (binary cross-entropy), and two scores a token for the
beginning and the end of the answer (cross-entropy, where it answers). A third head reads `<s> query: Q1 </s></s> query: Q2 </s>`
and says whether one answer serves both (binary cross-entropy). The embeddings of words and positions stay as they are, so the
program needs them once. Writes the layers as GGUF. Some 1,600 tokens a second on two cores with AVX-512 BF16.
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

    def asked(self, question):
        return [self.begin, *self.ids("query: " + question)[0][:MAX_QUESTION], self.end, self.end]

    def two(self, question, other):
        return self.asked(question) + self.ids("query: " + other)[0][:MAX_QUESTION] + [self.end]

    def pair(self, question, title, text, answer=None):
        head = self.asked(question)
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
        self.head, self.span, self.same = nn.Linear(2 * hidden, 1), nn.Linear(hidden, 2), nn.Linear(2 * hidden, 1)
        for head in (self.head, self.span, self.same):
            nn.init.normal_(head.weight, 0, 0.02)
        for name, parameter in self.of_encoder():
            parameter.data = encoder.tensor(name).reshape(parameter.shape)

    def of_heads(self):
        yield from (("head.w", self.head.weight), ("head.b", self.head.bias), ("span.w", self.span.weight))
        yield from (("same.w", self.same.weight), ("same.b", self.same.bias))

    def go_on(self, path):
        """Takes the weights of a reader that this script wrote; a head that it lacks stays as it is."""
        known = dict([*self.of_encoder(), *self.of_heads()])
        for tensor in gguf.GGUFReader(path).tensors:
            numbers = quants.dequantize(tensor.data, tensor.tensor_type)
            known[tensor.name].data = torch.tensor(np.array(numbers)).reshape(known[tensor.name].shape)

    def of_encoder(self):
        """The parameters by their names in both files."""
        yield from (("emb.ln.w", self.norm.weight), ("emb.ln.b", self.norm.bias))
        for number, layer in enumerate(self.layers):
            for part in PARTS + NORMS:
                module = getattr(layer, part)
                yield from ((f"l{number}.{part}.w", module.weight), (f"l{number}.{part}.b", module.bias))

    def means(self, ids):
        """The mean over the last layer's tokens."""
        real = ids != self.pad
        x = self.norm(self.words[ids] + self.places[: ids.shape[1]])
        mask = torch.where(real, 0.0, -1e4)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        weight = real.to(x.dtype)[..., None]
        return (x * weight).sum(1) / weight.sum(1)

    def forward(self, ids):
        """Log-odds that the passage answers, scores of beginning and end by token, log-odds that both ask the same."""
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
        return self.head(both).squeeze(-1).float(), scores, self.same(both).squeeze(-1).float()

    def write(self, path, encoder, version):
        out = gguf.GGUFWriter(path, "kefu-reader")
        out.add_string("general.version", version)
        out.add_string("kefu-reader.encoder_sha256", encoder.sha256)
        for name, parameter in [*self.of_encoder(), *self.of_heads()]:
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


def evaluate(model, samples, kinds, output):
    """Area under the ROC curve of one output, over all and by kind of the wrong ones (None: right)."""
    model.eval()
    scores = [0.0] * len(samples)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for group in batches(samples, 8192, False):
            for i, score in zip(group, model(padded(samples, group, model.pad))[output].tolist()):
                scores[i] = score
    model.train()
    right = [s for s, kind in zip(scores, kinds) if kind is None]
    wrong = {kind: [s for s, k in zip(scores, kinds) if k == kind] for kind in {*kinds} - {None}}
    by_kind = {kind: round(auc(right, found), 3) for kind, found in sorted(wrong.items())}
    return auc(right, sum(wrong.values(), [])), by_kind


# Words that other people put in the place of others, and what they put around a question: what changes nothing.
INSTEAD = (("怎么", "如何", "咋", "怎样"), ("多少钱", "几块钱", "多少"), ("为什么", "为啥", "为何", "怎么会"), ("什么时候", "啥时候", "何时", "几时"),
           ("哪里", "哪儿", "啥地方"), ("什么", "啥"), ("可以", "能"), ("没有", "没"), ("我的", "我"), ("我们", "咱们"), ("你们", "你家"), ("需要", "要"),
           ("how do i", "how can i", "how to", "what is the way to"), ("can i", "could i", "am i able to", "is it possible to"), ("what is", "what's"),
           ("do not", "don't"), ("cannot", "can't", "can not"))
BEFORE = ("请问", "你好，", "您好", "麻烦问下", "想问一下", "那个", "咨询一下", "在吗，", "客服")
AFTER = ("呢", "啊", "呀", "谢谢", "？", "?", "。", "！", "，急", "，在线等", "吧")
EN_BEFORE, EN_AFTER = ("hi, ", "hello ", "please, ", "quick question: ", "so "), ("?", " please", " thanks", "!", ".", "??")
FILLERS = "的了呢吧啊吗呀请一下"


def lightly(text):
    """`text` as somebody else might type the same."""
    for _ in range(random.choice((1, 2, 2, 3))):
        latin = sum(c.isascii() for c in text) * 2 > len(text)
        what = random.random()
        if what < 0.35:
            there = [(a, b) for row in INSTEAD for a in row if a in text.lower() for b in row if b != a]
            if there:
                a, b = random.choice(there)
                at = text.lower().find(a)
                text = text[:at] + b + text[at + len(a) :]
        elif what < 0.5:
            text = random.choice(EN_BEFORE if latin else BEFORE) + text
        elif what < 0.65:
            text = text.rstrip("？?。！!. ") + random.choice(EN_AFTER if latin else AFTER)
        elif what < 0.75:
            text = text.rstrip("？?。！!. ")
        elif what < 0.87:
            places = [i for i, c in enumerate(text) if c in FILLERS]
            if places and len(text) > 4:
                at = random.choice(places)
                text = text[:at] + text[at + 1 :]
        elif what < 0.93 and len(text) > 5:
            at = random.randrange(1, len(text) - 2)
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        else:
            halves = [half for half in text.replace(",", "，").split("，") if half.strip()]
            if len(halves) == 2:
                text = "，".join(reversed(halves))
    return text or "?"


def neighbours(groups, encoder, count=8):
    """For each group the others of whose questions the embedding says that they are most alike."""
    bare = Reader(encoder).eval()
    samples = [([encoder.begin] + encoder.ids("query: " + group["q"])[0][:MAX_QUESTION] + [encoder.end],) for group in groups]
    rows = torch.zeros(len(groups), encoder.hidden)
    with torch.no_grad():
        for places in batches(samples, 8192, False):
            rows[places] = F.normalize(bare.means(padded(samples, places, encoder.pad)), dim=-1)
    alike = rows @ rows.T
    alike[alike > 0.95] = -1  # The group itself, and those that may ask just the same.
    return alike.topk(count).indices.tolist()


def same_pairs(groups, near_groups, encoder, drawn=None):
    """Pairs out of groups of questions that ask the same (`q`, `same`), with near misses (`near`). How many words two have in common must
    not tell: of those that ask the same some share all but a little, of the others some share nothing but the topic."""
    found = []

    def add(a, b, label):
        a, b = (text if random.random() < 0.7 else lightly(text) for text in (a, b))
        found.append((encoder.two(*((a, b) if random.random() < 0.5 else (b, a))), label, None, 2))

    everything = lambda group: [group["q"], *group["same"], *group["near"]]
    for at in range(len(groups)) if drawn is None else drawn:
        group = groups[at]
        all_same = [group["q"], *group["same"]]
        for _ in range(4):
            add(*random.sample(all_same, 2), 1.0)
        for text in random.sample(everything(group), 3):
            add(text, lightly(text), 1.0)
        for near in random.sample(group["near"], min(3, len(group["near"]))):
            add(random.choice(all_same), near, 0.0)
        for other in random.sample(near_groups[at], 3):
            add(random.choice(everything(group)), random.choice(everything(groups[other])), 0.0)
        add(random.choice(everything(group)), random.choice(everything(random.choice(groups))), 0.0)
    return found


def load(folder):
    """The lines of all files of a folder, each with its file's name."""
    units = []
    for path in sorted(glob.glob(os.path.join(folder, "*.jsonl"))):
        name = os.path.basename(path).removesuffix(".jsonl")
        units += [dict(json.loads(line), file=name) for line in open(path, encoding="utf8") if line.strip()]
    return units


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--training", default="models/reader/training")
    parser.add_argument("--pairs", default="models/reader/pairs", help="groups of questions that ask the same")
    parser.add_argument("--held-out", default="mx", help="the file of either folder that is only measured on")
    parser.add_argument("--out", required=True)
    parser.add_argument("--version", default=time.strftime("%Y-%m-%d"))
    parser.add_argument("--init", help="a reader (GGUF) to go on from")
    parser.add_argument("--average", help="a reader (GGUF) whose weights are averaged with the trained ones at the end (Wortsman et al. 2022)")
    parser.add_argument("--whole", help="files of --training that each epoch takes whole, by comma (default: all)")
    parser.add_argument("--share", type=float, default=0.4, help="share of the others that each epoch draws")
    parser.add_argument("--pairs-share", type=float, default=1.0, help="share of the groups of --pairs that each epoch draws")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)

    encoder = Encoder(args.encoder)
    units, groups = load(args.training), load(args.pairs)
    pairs = lambda units: [(question, unit) for unit in units for question in unit["questions"]]
    encode = lambda q, unit, label, answer=None: (
        lambda ids, span: (ids, float(label), span, 0)
    )(*encoder.pair(q, unit["title"], unit["text"], answer))
    own = lambda question, unit: encode(question["q"], unit, question["label"], question.get("evidence"))
    held = pairs([unit for unit in units if unit["file"] == args.held_out])
    train = pairs([unit for unit in units if unit["file"] != args.held_out])
    if not held or not train:
        sys.exit(f"{args.training}: no pairs to train on, or none in {args.held_out}.jsonl to measure on")
    held_samples = [own(*pair) for pair in held]
    held_kinds = [question.get("why") for question, _ in held]
    held_groups = [group for group in groups if group["file"] == args.held_out]
    groups = [group for group in groups if group["file"] != args.held_out]
    near_groups = neighbours(groups, encoder) if groups else []
    held_two = [
        (ids, None, None, None if label else "other")
        for ids, label, _, _ in (same_pairs(held_groups, neighbours(held_groups, encoder), encoder) if held_groups else [])
    ]
    files = {}
    for _, unit in train:
        files.setdefault(unit["file"], []).append(unit)
    whole = set(args.whole.split(",")) if args.whole is not None else set(files)

    def samples():
        """Every pair of the files that are taken whole and a share of the others', a quarter as many questions with a passage that
        is not theirs, half of them of a like company, and pairs of questions."""
        now = [pair for pair in train if pair[1]["file"] in whole or random.random() < args.share]
        found = [own(*pair) for pair in now]
        answered = [pair for pair in now if pair[0]["label"]]
        for _ in range(len(now) // 4):
            question, unit = random.choice(answered)
            other = random.choice(files[unit["file"]]) if random.random() < 0.5 else random.choice(train)[1]
            if other["text"] != unit["text"]:
                found.append(encode(question["q"], other, 0))
        drawn = [at for at in range(len(groups)) if random.random() < args.pairs_share]
        return found + same_pairs(groups, near_groups, encoder, drawn)

    model = Reader(encoder)
    if args.init:
        model.go_on(args.init)
    heads = [parameter for _, parameter in model.of_heads()]
    decayed = [p for name, p in model.of_encoder() if p.dim() == 2]
    plain = [p for name, p in model.of_encoder() if p.dim() == 1]
    rates = (args.rate, args.rate, 10 * args.rate)
    parts = zip((decayed, plain, heads), (0.01, 0.0, 0.01), rates)
    optimiser = torch.optim.AdamW([{"params": p, "weight_decay": d, "lr": r} for p, d, r in parts])

    def told(when):
        area, kinds = evaluate(model, held_samples, held_kinds, 0)
        print(f"{when}: area under the ROC curve on {args.held_out} {area:.4f} {kinds}", flush=True)
        if held_two:
            print(f"{when}: the same question {evaluate(model, held_two, [s[3] for s in held_two], 2)[0]:.4f}", flush=True)

    told("before")
    data = samples()
    steps = len(batches(data, args.batch_tokens, True)) * args.epochs
    print(f"{len(data)} samples, {len(held)} held out, {steps} steps", flush=True)
    step, began = 0, time.time()
    for epoch in range(args.epochs):
        for group in batches(data, args.batch_tokens, True):
            factor = min(1, (step + 1) / (0.1 * steps)) * max(0, 1 - step / steps)
            for options, rate in zip(optimiser.param_groups, rates):
                options["lr"] = rate * factor
            with torch.autocast("cpu", torch.bfloat16):
                answers, scores, same = model(padded(data, group, encoder.pad))
            two = torch.tensor([data[i][3] == 2 for i in group])
            log_odds = torch.where(two, same, answers)
            loss = F.binary_cross_entropy_with_logits(log_odds, torch.tensor([data[i][1] for i in group]))
            spans = [(row, data[i][2]) for row, i in enumerate(group) if data[i][2]]
            if spans:
                rows = torch.tensor([row for row, _ in spans])
                ends = torch.tensor([span for _, span in spans])
                both = sum(F.cross_entropy(scores[rows, :, end], ends[:, end]) for end in (0, 1)) / 2
                loss = loss + 0.5 * both * len(spans) / len(group)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
            optimiser.step()
            step += 1
            if step % 20 == 0:
                print(f"step {step} loss {loss.item():.3f} {time.time() - began:.0f} s", flush=True)
        model.write(args.out, encoder, args.version)
        told(f"epoch {epoch + 1}")
        data = samples()
    if args.average:
        other = Reader(encoder)
        other.go_on(args.average)
        with torch.no_grad():
            for trained, present in zip(model.parameters(), other.parameters()):
                trained.lerp_(present, 0.5)
        model.write(args.out, encoder, args.version)
        told("averaged")


if __name__ == "__main__":
    main()
