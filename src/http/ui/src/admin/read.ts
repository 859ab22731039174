/** From unknown JSON to the types in model.ts. What does not fit becomes `null` or empty; nothing here throws. */

import { fields } from "../decode";
import {
  EVERYBODY,
  ROLES,
  SCORES,
  type AuditLine,
  type Content,
  type Document,
  type DocumentSummary,
  type Expectation,
  type Faq,
  type Gap,
  type Golden,
  type GoldenOutcome,
  type GoldenReport,
  type ImportFile,
  type ImportJob,
  type IntentCount,
  type Intents,
  type Overview,
  type Passage,
  type Published,
  type Revision,
  type RevisionState,
  type RevisionSummary,
  type Scope,
  type Stage,
  type Suggestion,
  type Trial,
  type User,
  type Version,
  type VersionChange,
} from "./model";

type Fields = Readonly<Record<string, unknown>>;
const NONE: Fields = {};

function from(value: unknown): Fields {
  return fields(value) ?? NONE;
}

function text(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "number" && Number.isFinite(value) ? String(value) : "";
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function array<T>(value: unknown, as: (value: unknown) => T | null): readonly T[] {
  if (!Array.isArray(value)) return [];
  return value.map((one: unknown) => as(one)).filter((one): one is T => one !== null);
}

function texts(value: unknown): readonly string[] {
  return array(value, (one) => (typeof one === "string" ? one : null));
}

export function page<T>(value: unknown, as: (value: unknown) => T | null): { items: readonly T[]; next: string | null } | null {
  const body = fields(value);
  if (body === null || !Array.isArray(body["items"])) return null;
  const next = body["next_cursor"];
  return { items: array(body["items"], as), next: typeof next === "string" && next !== "" ? next : null };
}

export function identifier(value: unknown): string | null {
  return text(from(value)["id"]) || null;
}

export function me(value: unknown): User | null {
  const user = from(from(value)["user"]);
  const role = ROLES.find((known) => known === user["role"]);
  if (role === undefined || typeof user["name"] !== "string") return null;
  return {
    id: text(user["id"]),
    name: user["name"],
    displayName: text(user["display_name"]) || user["name"],
    role,
    mustChange: user["must_change_password"] === true,
  };
}

export function auditLine(value: unknown): AuditLine | null {
  const line = from(value);
  const seq = number(line["seq"]);
  if (seq === null) return null;
  const detail = line["detail"];
  const shown = fields(detail) !== null && Object.keys(from(detail)).length === 0 ? "" : JSON.stringify(detail ?? "");
  return {
    seq,
    at: text(line["at"]),
    actor: text(line["actor"]),
    action: text(line["action"]),
    object: text(line["object"]),
    detail: shown,
  };
}

export function overview(value: unknown): Overview | null {
  const body = fields(value);
  if (body === null) return null;
  const count = (name: string): number => number(body[name]) ?? 0;
  return {
    version: count("kb_version"),
    documents: count("documents"),
    passages: count("passages"),
    faqs: count("faqs"),
    drafts: count("drafts"),
    inReview: count("in_review"),
    gaps: number(body["gaps"]),
    suggestions: number(body["suggestions"]),
    fourEyes: body["four_eyes"] === true,
  };
}

export function scope(value: unknown): Scope {
  const body = fields(value);
  if (body === null) return EVERYBODY;
  return {
    effective_from: text(body["effective_from"]) || null,
    expires_at: text(body["expires_at"]) || null,
    audiences: texts(body["audiences"]),
    channels: texts(body["channels"]),
  };
}

export function documentSummary(value: unknown): DocumentSummary | null {
  const body = from(value);
  const id = text(body["id"]);
  if (id === "") return null;
  return {
    id,
    source: text(body["source"]),
    title: text(body["title"]) || text(body["source"]),
    format: text(body["format"]),
    bytes: number(body["bytes"]) ?? 0,
    passages: Array.isArray(body["passages"]) ? body["passages"].length : number(body["passages"]),
    importedAt: text(body["imported_at"]),
    scope: scope(body["scope"]),
  };
}

function passage(value: unknown): Passage | null {
  const body = from(value);
  const start = number(body["start"]);
  const end = number(body["end"]);
  if (start === null || end === null) return null;
  const path = body["title_path"];
  return {
    id: text(body["id"]),
    title: text(body["title"]) || (Array.isArray(path) ? texts(path).join(" › ") : ""),
    page: number(body["page"]),
    start,
    end,
  };
}

export function document(value: unknown): Document | null {
  const summary = documentSummary(value);
  const body = from(value);
  if (summary === null || typeof body["text"] !== "string") return null;
  return { ...summary, text: body["text"], spans: array(body["passages"], passage) };
}

function importFile(value: unknown): ImportFile | null {
  const body = from(value);
  const source = text(body["source"]);
  if (source === "") return null;
  return {
    source,
    outcome: text(body["outcome"]),
    passages: number(body["passages"]),
    faqs: number(body["faqs"]),
    drafts: number(body["drafts"]) ?? 0,
    masked: number(body["masked"]) ?? 0,
    error: text(body["error"]),
    revisionId: text(body["revision_id"]),
  };
}

export function importJob(value: unknown): ImportJob | null {
  const body = from(value);
  const states = ["running", "done", "failed", "cancelled"] as const;
  const state = states.find((known) => known === body["state"]);
  if (state === undefined) return null;
  const count = (name: string): number => number(body[name]) ?? 0;
  return {
    state,
    filesDone: count("files_done"),
    filesTotal: count("files_total"),
    embedded: count("embedded"),
    embedTotal: count("embed_total"),
    files: array(body["files"], importFile),
    error: text(body["error"]),
  };
}

export function faq(value: unknown): Faq | null {
  const body = from(value);
  const id = text(body["id"]);
  if (id === "") return null;
  return {
    id,
    key: text(body["key"]),
    question: text(body["question"]),
    variants: texts(body["variants"]),
    answer: text(body["answer"]),
    category: text(body["category"]),
    scope: scope(body["scope"]),
  };
}

const STATES: readonly RevisionState[] = ["draft", "review", "published", "retired", "rejected"];

export function revisionSummary(value: unknown): RevisionSummary | null {
  const body = from(value);
  const id = text(body["id"]);
  const state = STATES.find((known) => known === body["state"]);
  if (id === "" || state === undefined) return null;
  return {
    id,
    kind: from(body["item"])["kind"] === "faq" ? "faq" : "document",
    itemId: text(from(body["item"])["id"]),
    number: number(body["number"]),
    state,
    removes: body["removes"] === true,
    name: text(body["name"]),
    title: text(body["title"]),
    author: text(body["author"]),
    note: text(body["note"]),
    createdAt: text(body["created_at"]),
    scope: scope(body["scope"]),
  };
}

function content(value: unknown): Content | null {
  const body = fields(value);
  if (body === null) return null;
  return {
    title: text(body["title"]),
    text: text(body["text"]),
    question: text(body["question"]),
    variants: texts(body["variants"]),
    answer: text(body["answer"]),
    category: text(body["category"]),
    scope: scope(body["scope"]),
  };
}

export function revision(value: unknown): Revision | null {
  const summary = revisionSummary(value);
  if (summary === null) return null;
  const body = from(value);
  return { ...summary, content: content(body["content"]), published: content(body["published"]) };
}

function outcome(value: unknown): GoldenOutcome {
  const body = from(value);
  return { route: text(body["route"]), answer: text(body["answer"]) };
}

export function goldenReport(value: unknown): GoldenReport | null {
  const body = fields(value);
  if (body === null || number(body["asked"]) === null) return null;
  return {
    asked: number(body["asked"]) ?? 0,
    rightBefore: number(body["right_before"]) ?? 0,
    rightAfter: number(body["right_after"]) ?? 0,
    worse: array(body["worse"], (one) => {
      const worse = from(one);
      const question = text(worse["question"]);
      if (question === "") return null;
      return { question, before: outcome(worse["before"]), after: outcome(worse["after"]) };
    }),
  };
}

export function published(value: unknown): Published | null {
  const body = from(value);
  const version = number(body["kb_version"]);
  return version === null ? null : { version, golden: goldenReport(body["golden"]) };
}

export function version(value: unknown): Version | null {
  const body = from(value);
  const found = number(body["version"]);
  if (found === null) return null;
  return {
    version: found,
    note: text(body["note"]),
    author: text(body["author"]),
    createdAt: text(body["created_at"]),
  };
}

export function versionChanges(value: unknown): readonly VersionChange[] | null {
  const body = fields(value);
  const list = body?.["changes"];
  if (!Array.isArray(list)) return null;
  return array(list, (one) => {
    const change = from(one);
    const old = text(change["old"]);
    return {
      kind: text(from(change["item"])["kind"]),
      itemId: text(from(change["item"])["id"]),
      name: text(change["name"]),
      title: text(change["title"]),
      what: change["removed"] === true ? "removed" : old === "" ? "added" : "changed",
    };
  });
}

export function golden(value: unknown): Golden | null {
  const body = from(value);
  const id = text(body["id"]);
  if (id === "") return null;
  const wanted = from(body["expect"]);
  const [source, key, contains] = [text(wanted["source"]), text(wanted["faq_key"]), texts(wanted["contains"])];
  const expect: Expectation = {
    ...(source === "" ? {} : { source }),
    ...(key === "" ? {} : { faq_key: key }),
    ...(contains.length === 0 ? {} : { contains }),
    ...(wanted["refuse"] === true ? { refuse: true } : {}),
  };
  return { id, question: text(body["question"]), expect };
}

function stage(value: unknown): Stage | null {
  const body = from(value);
  const given = from(body["scores"]);
  const scores: Record<string, number> = {};
  for (const name of SCORES) {
    const score = number(given[name]);
    if (score !== null) scores[name] = score;
  }
  return {
    kind: text(body["kind"]),
    id: text(body["id"]),
    title: text(body["title"]),
    text: text(body["text"]),
    scores,
  };
}

export function trial(value: unknown): Trial | null {
  const body = from(value);
  if (typeof body["route"] !== "string") return null;
  const timings = body["timings_ms"];
  return {
    route: body["route"],
    confidence: number(body["confidence"]),
    answer: text(body["answer"]),
    citations: array(body["citations"], (one) => {
      const citation = from(one);
      const n = number(citation["n"]);
      if (n === null) return null;
      return { n, title: text(citation["title"]), quote: text(citation["quote"]), documentId: text(citation["document_id"]) };
    }),
    stages: array(body["stages"], stage),
    totalMs: number(timings) ?? number(from(timings)["total"]),
    version: number(body["kb_version"]),
  };
}

export function gap(value: unknown): Gap | null {
  const body = from(value);
  const id = text(body["id"]);
  if (id === "") return null;
  return {
    id,
    question: text(body["question"]),
    count: number(body["count"]) ?? 1,
    examples: texts(body["examples"]),
    firstAt: text(body["first_at"]),
    lastAt: text(body["last_at"]),
    state: text(body["state"]),
  };
}

export function suggestion(value: unknown): Suggestion | null {
  const body = from(value);
  const id = text(body["id"]);
  if (id === "") return null;
  return {
    id,
    question: text(body["question"]),
    variants: texts(body["variants"]),
    answer: text(body["answer"]),
    origin: text(from(body["origin"])["kind"]),
    similar: array(body["similar"], (one) => {
      const similar = from(one);
      const question = text(similar["question"]);
      if (question === "") return null;
      return { id: text(similar["faq_id"]), question, similarity: number(similar["similarity"]) };
    }),
    state: text(body["state"]),
    createdAt: text(body["created_at"]),
  };
}

function intentCount(value: unknown): IntentCount | null {
  const row = fields(value);
  const intent = text(row?.["intent"]);
  if (row === null || intent === "") return null;
  return { intent, given: number(row["given"]) ?? 0, corrected: number(row["corrected"]) ?? 0 };
}

export function intents(value: unknown): Intents | null {
  const body = fields(value);
  if (body === null || !Array.isArray(body["items"])) return null;
  const head = fields(body["head"]);
  const training = fields(body["training"]);
  return {
    items: array(body["items"], intentCount),
    head:
      head === null
        ? null
        : {
            version: number(head["version"]) ?? 0,
            labels: number(head["labels"]) ?? 0,
            examples: number(head["examples"]) ?? 0,
            accuracy: number(head["accuracy"]) ?? 0,
            macroF1: number(head["macro_f1"]) ?? 0,
          },
    training: training === null ? null : { by: text(training["by"]), done: number(training["done"]) ?? 0 },
    failed: text(body["failed"]),
  };
}

export function changed(value: unknown): number | null {
  return number(from(value)["changed"]);
}
