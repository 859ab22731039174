/** Server-sent events over `fetch`: the browser's own EventSource can neither POST nor send a bearer token. */

export interface ServerEvent {
  readonly event: string;
  readonly data: string;
}

/** An endless line or event is an error, never a reason to fill the visitor's memory. */
export const MAX_EVENT_CHARS = 1_000_000;

export class EventTooLarge extends Error {
  constructor() {
    super("the server sent an event that is too large");
    this.name = "EventTooLarge";
  }
}

/**
 * Parses an event stream as the HTML standard describes it: lines end with CR, LF or CRLF, wherever the chunks are
 * cut; several `data:` lines join with LF; lines that begin with a colon are comments; an event that is not closed by
 * an empty line is dropped.
 */
export class SseParser {
  private readonly decoder = new TextDecoder("utf-8");
  private rest = "";
  private scanned = 0;
  private afterCr = false;
  private event = "";
  private data: string[] = [];
  private size = 0;

  /** Feeds bytes and returns the events that became complete. */
  push(bytes: Uint8Array): ServerEvent[] {
    return this.feed(this.decoder.decode(bytes, { stream: true }));
  }

  private feed(chunk: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    let buffer = this.rest + chunk;
    let begin = 0;
    let at = this.scanned;
    for (; at < buffer.length; at += 1) {
      const code = buffer.charCodeAt(at);
      if (code !== 10 && code !== 13) {
        this.afterCr = false;
        continue;
      }
      if (code === 10 && this.afterCr) {
        // The second half of a CRLF, perhaps cut apart by a chunk border: the line already ended at the CR.
        this.afterCr = false;
        begin = at + 1;
        continue;
      }
      this.afterCr = code === 13;
      const done = this.line(buffer.slice(begin, at));
      if (done !== null) events.push(done);
      begin = at + 1;
    }
    buffer = buffer.slice(begin);
    this.rest = buffer;
    this.scanned = buffer.length;
    if (buffer.length > MAX_EVENT_CHARS) throw new EventTooLarge();
    return events;
  }

  private line(line: string): ServerEvent | null {
    if (line === "") return this.dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") {
      this.event = value;
    } else if (field === "data") {
      this.size += value.length;
      if (this.size > MAX_EVENT_CHARS) throw new EventTooLarge();
      this.data.push(value);
    }
    return null;
  }

  private dispatch(): ServerEvent | null {
    const event = this.event === "" ? "message" : this.event;
    const data = this.data;
    this.event = "";
    this.data = [];
    this.size = 0;
    return data.length === 0 ? null : { event, data: data.join("\n") };
  }
}

/** Reads a response body to its end, one event at a time. Leaving the loop early releases the connection. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent, void, void> {
  const reader = body.getReader();
  const parser = new SseParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
