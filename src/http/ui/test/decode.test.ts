import { describe, expect, it } from "vitest";

import { retryAfterSeconds } from "../src/api";
import { passage, replyEvent, storedConversation } from "../src/decode";
import { browserLanguage } from "../src/i18n";

describe("replyEvent", () => {
  it("knows the closed set and ignores everything else", () => {
    expect(replyEvent("route", '{"route":"faq","confidence":0.9}')).toEqual({ type: "route", route: "faq" });
    expect(replyEvent("token", '{"text":"你"}')).toEqual({ type: "token", text: "你" });
    expect(replyEvent("queue", '{"position":3}')).toEqual({ type: "queue", position: 3 });
    for (const [name, data] of [
      ["execute", '{"code":"alert(1)"}'],
      ["route", '{"route":"admin"}'],
      ["route", '{"route":"constructor"}'],
      ["token", '{"text":{"html":"x"}}'],
      ["token", "not json"],
      ["token", "null"],
      ["citation", '{"n":"1","passage_id":"p"}'],
      ["queue", '{"position":"first"}'],
    ] as const) {
      expect(replyEvent(name, data)).toBeNull();
    }
  });

  it("reads a whole reply's end", () => {
    const data = '{"message_id":"m","usage":{},"timings_ms":{"total":12.5},"model":"q","kb_version":7}';
    expect(replyEvent("done", data)).toMatchObject({ messageId: "m", timings: { total: 12.5, retrieve: null }, kbVersion: "7", related: [] });
  });

  it("takes the questions to ask next and drops what is none", () => {
    const related = [{ question: "怎么申请金卡", kind: "faq" }, { question: "", kind: "faq" }, "x", null, { question: "y" }];
    expect(replyEvent("done", JSON.stringify({ message_id: "m", related }))).toMatchObject({
      related: [
        { question: "怎么申请金卡", kind: "faq" },
        { question: "y", kind: "" },
      ],
    });
  });
});

describe("what is stored", () => {
  it("drops messages and citations that do not fit", () => {
    const conversation = storedConversation({
      id: "c",
      status: "open",
      messages: [
        { id: "1", role: "visitor", text: "问", route: null, citations: [], rating: null },
        { id: "2", role: "root", text: "x" },
        { id: "3", role: "assistant", text: "答", route: "faq", citations: [{ n: 1, passage_id: "p" }, null], rating: 5 },
      ],
    });
    expect(conversation?.messages.map((message) => message.id)).toEqual(["1", "3"]);
    expect(conversation?.messages[1]?.citations).toHaveLength(1);
    expect(storedConversation([])).toBeNull();
    expect(passage({ text: 5 })).toBeNull();
  });
});

describe("retryAfterSeconds", () => {
  it("reads seconds and dates, within limits", () => {
    const now = Date.parse("2026-01-01T00:00:00Z");
    expect(retryAfterSeconds("5", now)).toBe(5);
    expect(retryAfterSeconds("Thu, 01 Jan 2026 00:00:07 GMT", now)).toBe(7);
    expect(retryAfterSeconds("999999", now)).toBe(300);
    expect(retryAfterSeconds("soon", now)).toBeNull();
    expect(retryAfterSeconds(null, now)).toBeNull();
  });
});

describe("browserLanguage", () => {
  it("takes the first language it speaks", () => {
    expect(browserLanguage(["fr", "zh-Hant-TW", "en"])).toBe("zh");
    expect(browserLanguage(["en-GB", "zh"])).toBe("en");
    expect(browserLanguage(["fr"])).toBe("en");
    expect(browserLanguage([])).toBe("zh");
  });
});
