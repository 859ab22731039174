import { describe, expect, it } from "vitest";

import { EventTooLarge, MAX_EVENT_CHARS, SseParser, readEvents, type ServerEvent } from "../src/sse";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function parse(chunks: readonly Uint8Array[]): ServerEvent[] {
  const parser = new SseParser();
  return chunks.flatMap((chunk) => parser.push(chunk));
}

const STREAM =
  ': greeting\n\nevent: route\ndata: {"route":"faq"}\n\nevent: token\ndata: {"text":"挂失即时生效 👍"}\n\n' +
  "event: done\ndata: first\ndata: second\nid: 7\nretry: 10\n\n";
const EVENTS = [
  { event: "route", data: '{"route":"faq"}' },
  { event: "token", data: '{"text":"挂失即时生效 👍"}' },
  { event: "done", data: "first\nsecond" },
];

describe("SseParser", () => {
  for (const [name, end] of [["LF", "\n"], ["CRLF", "\r\n"], ["CR", "\r"]] as const) {
    const whole = bytes(STREAM.replaceAll("\n", end));

    it(`reads lines that end with ${name}`, () => {
      expect(parse([whole])).toEqual(EVENTS);
    });

    it(`reads ${name} cut at every single byte, inside characters too`, () => {
      for (let cut = 1; cut < whole.length; cut += 1) {
        expect(parse([whole.slice(0, cut), whole.slice(cut)])).toEqual(EVENTS);
      }
      expect(parse([...whole].map((byte) => Uint8Array.of(byte)))).toEqual(EVENTS);
    });
  }

  it("names an event without a name `message`, and forgets a name when its event is over", () => {
    expect(parse([bytes("event: a\ndata: 1\n\ndata: 2\n\n")])).toEqual([
      { event: "a", data: "1" },
      { event: "message", data: "2" },
    ]);
  });

  it("takes off one space after the colon only, and reads a field without a colon as empty", () => {
    expect(parse([bytes("data:  x\ndata:y\ndata\n\n")])).toEqual([{ event: "message", data: " x\ny\n" }]);
  });

  it("drops events without data and an event that is never closed", () => {
    expect(parse([bytes("event: a\n\n: only a comment\n\ndata: cut off")])).toEqual([]);
  });

  it("skips a byte order mark", () => {
    expect(parse([bytes("\uFEFFdata: 1\n\n")])).toEqual([{ event: "message", data: "1" }]);
  });

  it("refuses a line or an event without end", () => {
    expect(() => parse([bytes(`data: ${"x".repeat(MAX_EVENT_CHARS)}`)])).toThrow(EventTooLarge);
    const line = `data: ${"x".repeat(MAX_EVENT_CHARS / 4)}\n`;
    expect(() => parse([bytes(line.repeat(5))])).toThrow(EventTooLarge);
  });
});

describe("readEvents", () => {
  it("lets go of the connection when the reader stops early", async () => {
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(bytes("data: again\n\n")),
      cancel: () => {
        cancelled = true;
      },
    });
    for await (const event of readEvents(body)) {
      expect(event.data).toBe("again");
      break;
    }
    expect(cancelled).toBe(true);
  });
});
