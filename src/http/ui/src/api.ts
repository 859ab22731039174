/** The visitor's part of the HTTP API. Every failure leaves here as an `ApiError`, except an abort by the visitor. */

import * as decode from "./decode";
import { readEvents } from "./sse";
import type { Handoff, Passage, ReplyEvent, StoredConversation } from "./types";

export interface Credentials {
  readonly id: string;
  readonly token: string;
}

/** `network`: no answer at all, or the connection broke; `protocol`: an answer that is not the agreed one. */
export type ErrorKind = "network" | "protocol" | "http" | "stream";

export class ApiError extends Error {
  readonly kind: ErrorKind;
  readonly status: number;
  readonly code: string;
  readonly requestId: string;
  /** Seconds to wait before another try, where the server said so. */
  readonly retryAfter: number | null;
  /** Facts that the server sends beside its words, where a code has such. */
  readonly facts: Readonly<Record<string, unknown>> | null;

  constructor(
    kind: ErrorKind,
    message: string,
    details: { status?: number; code?: string; requestId?: string; retryAfter?: number | null; facts?: Readonly<Record<string, unknown>> | null } = {},
  ) {
    super(message);
    this.name = "ApiError";
    this.kind = kind;
    this.status = details.status ?? 0;
    this.code = details.code ?? kind;
    this.requestId = details.requestId ?? "";
    this.retryAfter = details.retryAfter ?? null;
    this.facts = details.facts ?? null;
  }

  /** The conversation is gone or was never this visitor's: only a new one helps. */
  get lostConversation(): boolean {
    return this.kind === "http" && (this.status === 401 || this.status === 404 || this.status === 410);
  }
}

const ROOT = "/api/v1";
/** An ordinary call that takes longer has failed. */
const CALL_TIMEOUT_MS = 20_000;
/** A reply may wait in the queue and then be written slowly, but some byte must come in this time. */
const SILENCE_TIMEOUT_MS = 120_000;
const MAX_RETRY_AFTER_S = 300;

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

export function retryAfterSeconds(value: string | null, now: number): number | null {
  if (value === null) return null;
  const plain = value.trim();
  const seconds = /^\d+$/u.test(plain) ? Number(plain) : Math.ceil((Date.parse(plain) - now) / 1000);
  if (Number.isNaN(seconds)) return null;
  return Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_S);
}

async function failure(response: Response): Promise<ApiError> {
  const body = decode.parseJson(await response.text().catch(() => ""));
  const error = decode.fields(body?.["error"]);
  const word = (name: string): string => (typeof error?.[name] === "string" ? (error[name] as string) : "");
  return new ApiError("http", word("message"), {
    status: response.status,
    code: word("code") || `http_${response.status}`,
    requestId: word("request_id"),
    retryAfter: retryAfterSeconds(response.headers.get("Retry-After"), Date.now()),
    facts: decode.fields(error?.["details"]),
  });
}

function headers(credentials: Credentials | null, accept: string): Headers {
  const set = new Headers({ Accept: accept });
  if (credentials !== null) set.set("Authorization", `Bearer ${credentials.token}`);
  return set;
}

export async function request(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(ROOT + path, { credentials: "same-origin", cache: "no-store", redirect: "error", ...init });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError("network", "");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

interface Call {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly credentials: Credentials | null;
  readonly body?: Readonly<Record<string, unknown>>;
}

async function call({ method, path, credentials, body }: Call): Promise<Response> {
  const set = headers(credentials, "application/json");
  const init: RequestInit = { method, headers: set };
  if (body !== undefined) {
    set.set("Content-Type", "application/json");
    init.body = JSON.stringify(body);
  }
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), CALL_TIMEOUT_MS);
  try {
    return await request(path, { ...init, signal: controller.signal });
  } catch (error) {
    throw isAbort(error) ? new ApiError("network", "") : error;
  } finally {
    clearTimeout(timer);
  }
}

async function json<T>(response: Response, read: (value: unknown) => T | null): Promise<T> {
  const value = read(decode.parseJson(await response.text().catch(() => "")));
  if (value === null) throw new ApiError("protocol", "", { status: response.status });
  return value;
}

function conversationPath(id: string): string {
  return `/conversations/${encodeURIComponent(id)}`;
}

export async function createConversation(language: "zh" | "en"): Promise<Credentials> {
  const body = { channel: "web", language };
  const response = await call({ method: "POST", path: "/conversations", credentials: null, body });
  return json(response, (value) => {
    const from = decode.fields(value);
    const id = from?.["id"];
    const token = from?.["visitor_token"];
    return typeof id === "string" && id !== "" && typeof token === "string" && token !== "" ? { id, token } : null;
  });
}

export async function getConversation(credentials: Credentials): Promise<StoredConversation> {
  const response = await call({ method: "GET", path: conversationPath(credentials.id), credentials });
  return json(response, decode.storedConversation);
}

export async function getPassage(credentials: Credentials, passageId: string): Promise<Passage> {
  const path = `/passages/${encodeURIComponent(passageId)}`;
  return json(await call({ method: "GET", path, credentials }), decode.passage);
}

export interface Rating {
  readonly messageId: string;
  readonly score: 1 | 2 | 3 | 4 | 5;
  readonly comment?: string;
}

export async function rate(credentials: Credentials, rating: Rating): Promise<void> {
  const { messageId, score, comment } = rating;
  const body = { score, message_id: messageId, ...(comment === undefined ? {} : { comment }) };
  await call({ method: "POST", path: `${conversationPath(credentials.id)}/rating`, credentials, body });
}

export async function requestHandoff(credentials: Credentials): Promise<Handoff> {
  const path = `${conversationPath(credentials.id)}/handoff`;
  return json(await call({ method: "POST", path, credentials, body: {} }), decode.handoff);
}

export async function closeConversation(credentials: Credentials): Promise<void> {
  await call({ method: "POST", path: `${conversationPath(credentials.id)}/close`, credentials });
}

/**
 * Sends a message and yields the events of its reply up to `done` or `error`. Aborting `signal` stops the reply at the
 * server as well. A stream that ends before it is finished is a network failure.
 */
export async function* sendMessage(
  credentials: Credentials,
  text: string,
  signal: AbortSignal,
): AsyncGenerator<ReplyEvent, void, void> {
  const silence = new AbortController();
  const abort = (): void => silence.abort();
  signal.addEventListener("abort", abort);
  let timer = setTimeout(abort, SILENCE_TIMEOUT_MS);
  try {
    signal.throwIfAborted();
    const set = headers(credentials, "text/event-stream");
    set.set("Content-Type", "application/json");
    const response = await request(`${conversationPath(credentials.id)}/messages`, {
      method: "POST",
      headers: set,
      body: JSON.stringify({ text }),
      signal: silence.signal,
    });
    const type = response.headers.get("Content-Type") ?? "";
    if (response.body === null || !type.startsWith("text/event-stream")) {
      throw new ApiError("protocol", "", { status: response.status });
    }
    for await (const { event, data } of readEvents(response.body)) {
      clearTimeout(timer);
      timer = setTimeout(abort, SILENCE_TIMEOUT_MS);
      const known = decode.replyEvent(event, data);
      if (known === null) continue;
      if (known.type === "error") throw new ApiError("stream", known.message, { code: known.code || "stream" });
      yield known;
      if (known.type === "done") return;
    }
    throw new ApiError("network", "");
  } catch (error) {
    if (signal.aborted) throw new DOMException("stopped by the visitor", "AbortError");
    throw error instanceof ApiError ? error : new ApiError("network", "");
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}
