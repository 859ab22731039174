/** From unknown JSON to the types in types.ts. A value that does not fit becomes `null`; nothing here throws. */

import {
  ROLES,
  ROUTES,
  type Citation,
  type Handoff,
  type Passage,
  type Related,
  type ReplyEvent,
  type Role,
  type Route,
  type StoredConversation,
  type StoredMessage,
  type Timings,
} from "./types";

type Fields = Readonly<Record<string, unknown>>;

export function fields(value: unknown): Fields | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : null;
}

function text(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "number" && Number.isFinite(value) ? String(value) : "";
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function present<T>(value: T | null): value is T {
  return value !== null;
}

export function parseJson(source: string): Fields | null {
  try {
    return fields(JSON.parse(source));
  } catch {
    return null;
  }
}

function route(value: unknown): Route | null {
  return ROUTES.find((known) => known === value) ?? null;
}

function role(value: unknown): Role | null {
  return ROLES.find((known) => known === value) ?? null;
}

function citation(value: unknown): Citation | null {
  const from = fields(value);
  const n = number(from?.["n"]);
  const passageId = text(from?.["passage_id"]);
  if (from === null || n === null || passageId === "") return null;
  return {
    n,
    documentId: text(from["document_id"]),
    title: text(from["title"]),
    passageId,
    quote: text(from["quote"]),
    start: number(from["start"]),
    end: number(from["end"]),
    kbVersion: text(from["kb_version"]),
  };
}

function timings(value: unknown): Timings {
  const from = fields(value);
  return {
    understand: number(from?.["understand"]),
    retrieve: number(from?.["retrieve"]),
    firstToken: number(from?.["first_token"]),
    total: number(from?.["total"]),
  };
}

function related(value: unknown): Related | null {
  const from = fields(value);
  const question = text(from?.["question"]);
  return question === "" ? null : { question, kind: text(from?.["kind"]) };
}

/** The closed set of reply events; any other name, and data that does not fit its name, is ignored. */
export function replyEvent(name: string, data: string): ReplyEvent | null {
  const from = parseJson(data);
  if (from === null) return null;
  switch (name) {
    case "route": {
      const known = route(from["route"]);
      return known === null ? null : { type: "route", route: known };
    }
    case "citation": {
      const known = citation(from);
      return known === null ? null : { type: "citation", citation: known };
    }
    case "token":
      return typeof from["text"] === "string" ? { type: "token", text: from["text"] } : null;
    case "queue": {
      const position = number(from["position"]);
      return position === null ? null : { type: "queue", position };
    }
    case "handoff":
      return { type: "handoff", reason: text(from["reason"]), position: number(from["position"]) };
    case "done":
      return {
        type: "done",
        messageId: text(from["message_id"]),
        timings: timings(from["timings_ms"]),
        model: text(from["model"]),
        kbVersion: text(from["kb_version"]),
        related: list(from["related"]).map(related).filter(present),
      };
    case "error":
      return { type: "error", code: text(from["code"]), message: text(from["message"]) };
    default:
      return null;
  }
}

function storedMessage(value: unknown): StoredMessage | null {
  const from = fields(value);
  const who = role(from?.["role"]);
  if (from === null || who === null) return null;
  return {
    id: text(from["id"]),
    role: who,
    text: text(from["text"]),
    route: route(from["route"]),
    citations: list(from["citations"]).map(citation).filter(present),
    rating: number(from["rating"]),
  };
}

export function storedConversation(value: unknown): StoredConversation | null {
  const from = fields(value);
  const id = text(from?.["id"]);
  if (from === null || id === "") return null;
  return {
    id,
    status: text(from["status"]),
    messages: list(from["messages"]).map(storedMessage).filter(present),
  };
}

export function passage(value: unknown): Passage | null {
  const from = fields(value);
  if (from === null || typeof from["text"] !== "string") return null;
  return {
    passageId: text(from["passage_id"]),
    title: text(from["title"]),
    titlePath: list(from["title_path"]).map(text).filter((part) => part !== ""),
    text: from["text"],
    start: number(from["start"]),
    kbVersion: text(from["kb_version"]),
    sourceUri: text(from["source_uri"]),
  };
}

export function handoff(value: unknown): Handoff | null {
  const from = fields(value);
  if (from === null) return null;
  return { status: text(from["status"]), position: number(from["position"]), message: text(from["message"]) };
}
