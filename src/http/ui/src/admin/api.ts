/** The part of the HTTP API that people who work here use. Failures leave here as `ApiError`. */

import { ApiError, isAbort, request } from "../api";
import { parseJson } from "../decode";
import * as read from "./read";
import { expired, learns } from "./session";
import type * as model from "./model";

const CALL_TIMEOUT_MS = 30_000;
/** Golden questions are asked twice before anything is published, and a question tried is answered whole. */
const LONG_TIMEOUT_MS = 15 * 60_000;
/** What the server says of a wrong password: the person is not signed in yet, so nothing has expired. */
const SIGNING_IN = new Set(["wrong_credentials", "code_needed", "wrong_code"]);

interface Options {
  readonly body?: unknown;
  readonly form?: FormData;
  readonly long?: boolean;
  readonly signal?: AbortSignal;
}

type Method = "GET" | "POST" | "PUT" | "DELETE";

async function call(method: Method, path: string, options: Options = {}): Promise<unknown> {
  const headers = new Headers({ Accept: "application/json" });
  const init: RequestInit = { method, headers };
  if (options.form !== undefined) init.body = options.form;
  else if (options.body !== undefined) {
    headers.set("Content-Type", "application/json");
    init.body = JSON.stringify(options.body);
  }
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  options.signal?.addEventListener("abort", abort);
  const timer = setTimeout(abort, options.long === true ? LONG_TIMEOUT_MS : CALL_TIMEOUT_MS);
  try {
    const response = await request(path, { ...init, signal: controller.signal });
    const text = await response.text();
    return text === "" ? {} : parseJson(text);
  } catch (error) {
    if (isAbort(error) && options.signal?.aborted !== true) throw new ApiError("network", "");
    if (error instanceof ApiError && error.status === 401 && !SIGNING_IN.has(error.code)) expired();
    throw error;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", abort);
  }
}

async function value<T>(answer: Promise<unknown>, as: (value: unknown) => T | null): Promise<T> {
  const found = as(await answer);
  if (found === null) throw new ApiError("protocol", "");
  return found;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly next: string | null;
}

export type Params = Readonly<Record<string, string>>;

async function list<T>(path: string, params: Params, as: (value: unknown) => T | null): Promise<Page<T>> {
  const query = new URLSearchParams(Object.entries(params).filter(([, text]) => text !== ""));
  return value(call("GET", `${path}${query.size > 0 ? `?${query.toString()}` : ""}`), (from) => read.page(from, as));
}

const at = (path: string, id: string | number, rest = ""): string => `${path}/${encodeURIComponent(id)}${rest}`;

// ---- people ----------------------------------------------------------------------------------------------------------

export const me = (): Promise<model.User> => value(call("GET", "/auth/me"), read.me);
export const login = (name: string, password: string, code: string): Promise<model.User> =>
  value(call("POST", "/auth/login", { body: { name, password, ...(code === "" ? {} : { code }) } }), read.me);
export const logout = (): Promise<unknown> => call("POST", "/auth/logout");
export const changePassword = (old: string, next: string): Promise<model.User> =>
  value(call("POST", "/auth/password", { body: { old, new: next } }), read.me);
export const audit = (params: Params): Promise<Page<model.AuditLine>> => list("/audit", params, read.auditLine);

// ---- knowledge -------------------------------------------------------------------------------------------------------

const K = "/knowledge";

export async function overview(): Promise<model.Overview> {
  const now = await value(call("GET", `${K}/overview`), read.overview);
  learns.set(now.gaps !== null);
  return now;
}

export const documents = (params: Params): Promise<Page<model.DocumentSummary>> =>
  list(`${K}/documents`, params, read.documentSummary);
export const document = (id: string, revision: string): Promise<model.Document> =>
  value(call("GET", at(`${K}/documents`, id, revision === "" ? "" : `?revision=${encodeURIComponent(revision)}`)), read.document);
export const setScope = (id: string, scope: model.Scope): Promise<unknown> =>
  call("PUT", at(`${K}/documents`, id, "/scope"), { body: scope });
export const removeDocument = (id: string): Promise<unknown> => call("DELETE", at(`${K}/documents`, id));

export function startImport(files: readonly File[], publish: boolean): Promise<string> {
  const form = new FormData();
  // Before the files: the server reads the parts as they come.
  form.append("publish", String(publish));
  for (const file of files) form.append("file", file, file.name);
  return value(call("POST", `${K}/imports`, { form, long: true }), read.identifier);
}
export const importJob = (id: string): Promise<model.ImportJob> => value(call("GET", at(`${K}/imports`, id)), read.importJob);
export const cancelImport = (id: string): Promise<unknown> => call("DELETE", at(`${K}/imports`, id));

export const faqs = (params: Params): Promise<Page<model.Faq>> => list(`${K}/faqs`, params, read.faq);
export const faq = (id: string): Promise<model.Faq> => value(call("GET", at(`${K}/faqs`, id)), read.faq);
export const saveFaq = (id: string | null, draft: model.FaqDraft): Promise<unknown> =>
  id === null ? call("POST", `${K}/faqs`, { body: draft }) : call("PUT", at(`${K}/faqs`, id), { body: draft });
export const removeFaq = (id: string): Promise<unknown> => call("DELETE", at(`${K}/faqs`, id));

export const revisions = (params: Params): Promise<Page<model.RevisionSummary>> =>
  list(`${K}/revisions`, params, read.revisionSummary);
export const revision = (id: string): Promise<model.Revision> => value(call("GET", at(`${K}/revisions`, id)), read.revision);
export const submitRevision = (id: string): Promise<unknown> => call("POST", at(`${K}/revisions`, id, "/submit"), { body: {} });
export const rejectRevision = (id: string, note: string): Promise<unknown> =>
  call("POST", at(`${K}/revisions`, id, "/reject"), { body: { note } });
export const discardRevision = (id: string): Promise<unknown> => call("DELETE", at(`${K}/revisions`, id));

export interface PublishRequest {
  readonly note: string;
  readonly force?: boolean;
}
export const publish = (ids: readonly string[], how: PublishRequest): Promise<model.Published> =>
  value(call("POST", `${K}/publish`, { body: { revisions: ids, ...how }, long: true }), read.published);

export const versions = (params: Params): Promise<Page<model.Version>> => list(`${K}/versions`, params, read.version);
export const versionChanges = (version: number): Promise<readonly model.VersionChange[]> =>
  value(call("GET", at(`${K}/versions`, version)), read.versionChanges);
export const rollback = (version: number, how: PublishRequest): Promise<model.Published> =>
  value(call("POST", at(`${K}/versions`, version, "/rollback"), { body: how, long: true }), read.published);

export const golden = (params: Params): Promise<Page<model.Golden>> => list(`${K}/golden`, params, read.golden);
export const addGolden = (question: string, expect: model.Expectation): Promise<unknown> =>
  call("POST", `${K}/golden`, { body: { question, expect } });
export const removeGolden = (id: string): Promise<unknown> => call("DELETE", at(`${K}/golden`, id));

export interface TryRequest {
  readonly question: string;
  readonly revisions?: readonly string[];
  readonly audiences?: readonly string[];
  readonly channel?: string;
}
export const tryQuestion = (body: TryRequest, signal: AbortSignal): Promise<model.Trial> =>
  value(call("POST", `${K}/try`, { body, long: true, signal }), read.trial);

export const gaps = (params: Params): Promise<Page<model.Gap>> => list(`${K}/gaps`, params, read.gap);
export const closeGap = (id: string, reason: string): Promise<unknown> =>
  call("POST", at(`${K}/gaps`, id, "/close"), { body: { reason } });

const U = "/understanding";

export const intents = (): Promise<model.Intents> => value(call("GET", `${U}/intents`), read.intents);
export const trainIntents = (): Promise<unknown> => call("POST", `${U}/intents/train`);
/** How many were new or changed. */
export const addExamples = (examples: readonly model.Example[]): Promise<number> =>
  value(call("POST", `${U}/examples`, { body: { examples } }), read.changed);

export const suggestions = (params: Params): Promise<Page<model.Suggestion>> =>
  list(`${K}/suggestions`, params, read.suggestion);
export interface Accepted {
  readonly question: string;
  readonly variants: readonly string[];
  readonly answer: string;
  readonly category: string;
  readonly key?: string;
}
export const acceptSuggestion = (id: string, body: Accepted): Promise<unknown> =>
  call("POST", at(`${K}/suggestions`, id, "/accept"), { body });
export const dismissSuggestion = (id: string, reason: string): Promise<unknown> =>
  call("POST", at(`${K}/suggestions`, id, "/dismiss"), { body: { reason } });
