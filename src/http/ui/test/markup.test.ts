import { describe, expect, it } from "vitest";

import { parseMarkup, plainQuote, splitInline, withoutOpenMark, type Block, type Inline } from "../src/markup";

const known = new Set([1, 2]);
const shape = (parts: readonly Inline[]): string[] =>
  parts.map((part) => (part.kind === "cite" ? `<${part.n}>` : part.kind === "strong" ? `*${part.text}*` : part.text));

/** Every run of text in reading order. */
function inlines(blocks: readonly Block[]): Inline[] {
  return blocks.flatMap((block): Inline[] => {
    switch (block.kind) {
      case "paragraph":
        return block.lines.flat();
      case "heading":
        return [...block.line];
      case "list":
        return block.items.flat();
      case "table":
        return [...block.head.flat(), ...block.rows.flat(2)];
    }
  });
}

describe("splitInline", () => {
  it("turns marks of known citations into marks and leaves the rest as text", () => {
    expect(shape(splitInline("挂失[1]即时生效[2][1]。", known))).toEqual(["挂失", "<1>", "即时生效", "<2>", "<1>", "。"]);
    expect(shape(splitInline("[9] 不存在，[a]、[]、[1 不是", known))).toEqual(["[9] 不存在，[a]、[]、[1 不是"]);
    expect(shape(splitInline("", known))).toEqual([]);
  });

  it("keeps markup of other kinds as the text it is", () => {
    const hostile = '<img src=x onerror="alert(1)"> [点我](javascript:alert(1)) &lt;';
    expect(splitInline(hostile, known)).toEqual([{ kind: "text", text: hostile, start: 0 }]);
  });

  it("reads bold, with marks inside it", () => {
    expect(shape(splitInline("**立即[1]生效**，2 ** 3 ** 4", known))).toEqual(["*立即*", "<1>", "*生效*", "，2 ** 3 ** 4"]);
  });
});

describe("parseMarkup", () => {
  const source =
    "## 收费\r\n第一行[1]\n第二行\n\n- 甲\n- 乙[2]\n3. 丙\n4. 丁\n" +
    "| 渠道 | **费用** |\n| --- | :-: |\n| 柜台 | 2 元[1] |\n| 网银 |\n\n完。";
  const blocks = parseMarkup(source, known);

  it("finds headings, paragraphs, lists and tables", () => {
    expect(blocks.map((block) => block.kind)).toEqual(["heading", "paragraph", "list", "list", "table", "paragraph"]);
    const numbered = blocks[3];
    expect(numbered?.kind === "list" && numbered.ordered && numbered.first).toBe(3);
    const table = blocks[4];
    if (table?.kind !== "table") throw new Error("no table");
    expect(table.head.map(shape)).toEqual([["渠道"], ["*费用*"]]);
    expect(table.rows.map((row) => row.map(shape))).toEqual([
      [["柜台"], ["2 元", "<1>"]],
      [["网银"], []],
    ]);
  });

  it("knows where every run stands in the source", () => {
    for (const part of inlines(blocks)) {
      if (part.kind === "cite") expect(source.slice(part.start, part.start + 3)).toBe(`[${part.n}]`);
      else expect(source.slice(part.start, part.start + part.text.length)).toBe(part.text);
    }
  });

  it("does not take pipes, dashes and amounts for markup", () => {
    const plain = "a | b\n-5 元\n2026.1.1 起\n| 没有分隔行 |";
    expect(parseMarkup(plain).map((block) => block.kind)).toEqual(["paragraph"]);
  });

  it("survives anything", () => {
    for (const odd of ["", "\n\n", "|", "||", "|\n|", "| a |\n| - |", "**", "****", "[", "#", "- ", "1. "]) {
      expect(() => parseMarkup(odd, known)).not.toThrow();
    }
    const started = performance.now();
    parseMarkup("**[1".repeat(20_000) + "| ".repeat(20_000), known);
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

describe("withoutOpenMark", () => {
  it("hides only a mark that may still close", () => {
    expect(["挂失[", "挂失[1", "挂失[1]", "挂失[a"].map(withoutOpenMark)).toEqual(["挂失", "挂失", "挂失[1]", "挂失[a"]);
  });
});

describe("plainQuote", () => {
  it("shows the words of a table row, a heading and a list", () => {
    expect(plainQuote("| 柜台 | 2 元 |")).toBe("柜台 · 2 元");
    expect(plainQuote("## 挂失\n- **立即**办理\n| --- | --- |")).toBe("挂失 立即办理");
  });
});
