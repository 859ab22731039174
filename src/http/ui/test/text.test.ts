import { describe, expect, test } from "vitest";

import { difference, pieces, stringPlaces, words } from "../src/admin/text";

const side = (changes: ReturnType<typeof difference>, without: "added" | "removed"): string =>
  changes
    .filter((change) => change.kind !== without)
    .map((change) => change.text)
    .join("");

describe("byte places", () => {
  test("are counted in UTF-8, in any order, and move to the beginning of a character", () => {
    const text = "a费é😀b";
    // a=0, 费=1..4, é=4..6, 😀=6..10, b=10
    expect(stringPlaces(text, [10, 0, 1, 4, 6, 2, 11, 99])).toEqual([5, 0, 1, 2, 3, 1, 6, 6]);
    expect(stringPlaces("", [0, 5])).toEqual([0, 0]);
  });

  test("cut a text into passages and the rest, and give all of it back", () => {
    const text = "标题\n\n第一段。第二段。";
    const bytes = (part: string): number => new TextEncoder().encode(part).length;
    const first = { start: bytes("标题\n\n"), end: bytes("标题\n\n第一段。") };
    const second = { start: bytes("标题\n\n第"), end: bytes(text) };
    const found = pieces(text, [second, first]);
    expect(found).toEqual([
      { text: "标题\n\n", passage: null },
      { text: "第一段。", passage: 1 },
      { text: "第二段。", passage: 0 },
    ]);
    expect(pieces(text, []).map((piece) => piece.text).join("")).toBe(text);
  });
});

describe("differences", () => {
  test("words are Latin words, numbers with their points, and Chinese characters", () => {
    expect(words("每卡40.50元 per-card\n")).toEqual(["每", "卡", "40.50", "元", " ", "per-card", "\n"]);
  });

  test("name what was changed and nothing else", () => {
    expect(difference("挂失手续费每卡40元。", "挂失手续费每卡20元。")).toEqual([
      { kind: "same", text: "挂失手续费每卡" },
      { kind: "removed", text: "40" },
      { kind: "added", text: "20" },
      { kind: "same", text: "元。" },
    ]);
    expect(difference("a", "a")).toEqual([{ kind: "same", text: "a" }]);
    expect(difference("", "a")).toEqual([{ kind: "added", text: "a" }]);
    expect(difference("a\nb\nc\n", "a\nc\n")).toEqual([
      { kind: "same", text: "a\n" },
      { kind: "removed", text: "b\n" },
      { kind: "same", text: "c\n" },
    ]);
  });

  test("hold both texts whole, whatever they are", () => {
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed % below;
    };
    const text = (): string => Array.from({ length: random(60) }, () => "ab费率1 \n。"[random(8)]).join("");
    for (let round = 0; round < 400; round += 1) {
      const [old, next] = [text(), text()];
      const changes = difference(old, next);
      expect(side(changes, "added")).toBe(old);
      expect(side(changes, "removed")).toBe(next);
    }
  });

  test("end in time for texts that have nothing in common", () => {
    const old = Array.from({ length: 4000 }, (_, n) => `a${n}\n`).join("");
    const next = Array.from({ length: 4000 }, (_, n) => `b${n}\n`).join("");
    const changes = difference(old, next);
    expect(side(changes, "added")).toBe(old);
    expect(side(changes, "removed")).toBe(next);
  });
});
