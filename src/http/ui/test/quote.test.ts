import { describe, expect, it } from "vitest";

import { byteRange, locateQuote } from "../src/quote";

const text = "挂失手续费每卡 40 元，\n补发新卡 10 元。😀完";
const none = { start: null, end: null };

describe("locateQuote", () => {
  it("finds the exact words", () => {
    const range = locateQuote(text, " 补发新卡 10 元。 ", none, null);
    expect(range && text.slice(range.start, range.end)).toBe("补发新卡 10 元。");
  });

  it("finds the same words with other white space", () => {
    const range = locateQuote(text, "40元， 补发新卡10元", none, null);
    expect(range && text.slice(range.start, range.end)).toBe("40 元，\n补发新卡 10 元");
  });

  it("falls back on byte offsets, counted from the passage", () => {
    const range = locateQuote(text, "没有的话", { start: 100, end: 106 }, 100);
    expect(range && text.slice(range.start, range.end)).toBe("挂失");
    expect(locateQuote(text, "没有的话", { start: 100, end: 106 }, null)).toBeNull();
    expect(locateQuote(text, "没有的话", none, 0)).toBeNull();
  });
});

describe("byteRange", () => {
  it("refuses offsets that are outside or cut a character apart", () => {
    expect(byteRange("a😀b", 1, 5)).toEqual({ start: 1, end: 3 });
    for (const [start, end] of [[2, 5], [1, 4], [-1, 1], [1, 1], [0, 99], [0.5, 1]] as const) {
      expect(byteRange("a😀b", start, end)).toBeNull();
    }
  });
});
