/** The conversation: its state, and everything that can happen to it. The components only draw what is here. */

import * as api from "./api";
import { ApiError, type Credentials } from "./api";
import type { Language } from "./i18n";
import { loadCredentials, saveCredentials } from "./storage";
import { Store } from "./store";
import type { Citation, Related, ReplyEvent, Route, StoredMessage, Timings } from "./types";

export const MAX_MESSAGE_CHARS = 2000;

export type Phase = "waiting" | "streaming" | "done" | "stopped" | "failed";

export interface VisitorItem {
  readonly kind: "visitor";
  readonly key: number;
  readonly text: string;
}

export interface ReplyItem {
  readonly kind: "reply";
  readonly key: number;
  readonly author: "assistant" | "agent";
  readonly question: string;
  readonly phase: Phase;
  readonly text: string;
  readonly route: Route | null;
  readonly citations: readonly Citation[];
  readonly queue: number | null;
  readonly handoff: { readonly position: number | null } | null;
  readonly failure: ApiError | null;
  readonly messageId: string;
  readonly rating: number | null;
  readonly timings: Timings | null;
  readonly model: string;
  readonly kbVersion: string;
  /** What one may ask next. */
  readonly related: readonly Related[];
}

export interface NoteItem {
  readonly kind: "note";
  readonly key: number;
  /** What the server said, or the name of what this page has to say. */
  readonly note: { readonly text: string } | "startedAnew";
}

export type Item = VisitorItem | ReplyItem | NoteItem;

export interface ChatState {
  readonly items: readonly Item[];
  readonly draft: string;
  readonly busy: boolean;
  readonly restoring: boolean;
  readonly restoreFailure: ApiError | null;
  readonly handoff: "idle" | "working" | "failed";
  readonly openCitation: Citation | null;
}

const EMPTY: ChatState = {
  items: [],
  draft: "",
  busy: false,
  restoring: false,
  restoreFailure: null,
  handoff: "idle",
  openCitation: null,
};

function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError("protocol", "");
}

/** Characters as a reader counts them; the server counts the same way. */
export function countCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

export class Chat {
  readonly state = new Store<ChatState>(EMPTY);
  private credentials: Credentials | null = null;
  private running: AbortController | null = null;
  private lastKey = 0;

  constructor(private readonly language: () => Language) {}

  // ---- what the visitor does -------------------------------------------------------------------------------------

  setDraft(draft: string): void {
    this.patch({ draft });
  }

  openCitation(openCitation: Citation | null): void {
    this.patch({ openCitation });
  }

  /** Brings the conversation back after a reload. One that is gone is forgotten; a failure can be tried again. */
  async restore(): Promise<void> {
    const credentials = loadCredentials();
    if (credentials === null || this.state.get().restoring) return;
    this.patch({ restoring: true, restoreFailure: null });
    try {
      const stored = await api.getConversation(credentials);
      if (stored.status === "closed") {
        saveCredentials(null);
      } else {
        this.credentials = credentials;
        this.patch({ items: this.storedItems(stored.messages) });
      }
    } catch (error) {
      const failure = asApiError(error);
      if (failure.lostConversation) saveCredentials(null);
      else {
        // It may well be there still: what the visitor writes now goes on in it.
        this.credentials = credentials;
        this.patch({ restoreFailure: failure });
      }
    } finally {
      this.patch({ restoring: false });
    }
  }

  async send(question: string): Promise<void> {
    const text = question.trim();
    const { busy, restoring } = this.state.get();
    if (text === "" || busy || restoring || countCharacters(text) > MAX_MESSAGE_CHARS) return;
    if (this.state.get().draft.trim() === text) this.patch({ draft: "" });
    const reply = this.newReply(text);
    this.patch({
      items: [...this.state.get().items, { kind: "visitor", key: this.key(), text }, reply],
      busy: true,
      handoff: "idle",
      restoreFailure: null,
    });
    await this.answer(reply.key, text);
  }

  /** Sends the question of a failed reply again, in its place. */
  async retry(key: number): Promise<void> {
    const failed = this.reply(key);
    if (failed === null || failed.phase !== "failed" || this.state.get().busy) return;
    const reply = this.newReply(failed.question);
    this.patch({ items: this.without(failed), busy: true });
    const asked = { kind: "visitor", key: this.key(), text: failed.question } as const;
    this.patch({ items: [...this.state.get().items, asked, reply] });
    await this.answer(reply.key, failed.question);
  }

  /** Puts the question of a failed reply back into the composer. */
  edit(key: number): void {
    const failed = this.reply(key);
    if (failed === null || failed.phase !== "failed") return;
    const { draft } = this.state.get();
    const kept = draft.trim() === "" ? "" : `\n${draft}`;
    this.patch({ items: this.without(failed), draft: failed.question + kept });
  }

  stop(): void {
    this.running?.abort();
  }

  async rate(key: number, score: 1 | 5, comment?: string): Promise<void> {
    const reply = this.reply(key);
    if (reply === null || reply.messageId === "" || this.credentials === null) return;
    const rating = { messageId: reply.messageId, score };
    await api.rate(this.credentials, comment === undefined ? rating : { ...rating, comment });
    this.change(key, { rating: score });
  }

  async handoff(): Promise<void> {
    if (this.state.get().handoff === "working") return;
    this.patch({ handoff: "working" });
    try {
      const { message } = await this.withConversation((credentials) => api.requestHandoff(credentials));
      this.append({ kind: "note", key: this.key(), note: { text: message } });
      this.patch({ handoff: "idle" });
    } catch {
      this.patch({ handoff: "failed" });
    }
  }

  async startAnew(): Promise<void> {
    const old = this.credentials ?? loadCredentials();
    this.running?.abort();
    this.running = null;
    this.forget();
    this.state.set({ ...EMPTY, draft: this.state.get().draft });
    // The visitor is done with it either way; one that cannot be closed now ends by its own age.
    if (old !== null) await api.closeConversation(old).catch(() => undefined);
  }

  passage(citation: Citation): ReturnType<typeof api.getPassage> {
    if (this.credentials === null) return Promise.reject(new ApiError("protocol", ""));
    return api.getPassage(this.credentials, citation.passageId);
  }

  // ---- a reply -----------------------------------------------------------------------------------------------------

  private async answer(key: number, text: string): Promise<void> {
    const controller = new AbortController();
    this.running = controller;
    try {
      await this.withConversation(async (credentials) => {
        for await (const event of api.sendMessage(credentials, text, controller.signal)) {
          if (controller.signal.aborted) break;
          this.take(key, event);
        }
      });
      if (this.reply(key)?.phase !== "done") this.change(key, { phase: "stopped", queue: null });
    } catch (error) {
      if (api.isAbort(error)) this.change(key, { phase: "stopped", queue: null });
      else this.change(key, { phase: "failed", queue: null, failure: asApiError(error) });
    } finally {
      if (this.running === controller) {
        this.running = null;
        this.patch({ busy: false });
      }
    }
  }

  private take(key: number, event: ReplyEvent): void {
    const reply = this.reply(key);
    if (reply === null) return;
    switch (event.type) {
      case "route":
        this.change(key, { route: event.route, queue: null });
        break;
      case "citation": {
        const others = reply.citations.filter((known) => known.n !== event.citation.n);
        this.change(key, { citations: [...others, event.citation].sort((a, b) => a.n - b.n) });
        break;
      }
      case "token":
        this.change(key, { text: reply.text + event.text, phase: "streaming", queue: null });
        break;
      case "queue":
        this.change(key, { queue: event.position });
        break;
      case "handoff":
        this.change(key, { handoff: { position: event.position }, queue: null });
        break;
      case "done":
        this.change(key, {
          phase: "done",
          queue: null,
          messageId: event.messageId,
          timings: event.timings,
          model: event.model,
          kbVersion: event.kbVersion,
          related: event.related,
        });
        break;
      case "error":
        break;
    }
  }

  /** Runs a call in the visitor's conversation, made on first need; one that is gone is replaced once. */
  private async withConversation<T>(run: (credentials: Credentials) => Promise<T>): Promise<T> {
    const existing = this.credentials;
    if (existing === null) return run(await this.open());
    try {
      return await run(existing);
    } catch (error) {
      if (!(error instanceof ApiError && error.lostConversation)) throw error;
      this.forget();
      const fresh = await this.open();
      const { items } = this.state.get();
      const last = items[items.length - 1];
      const place = items.length - (last?.kind === "reply" && last.phase === "waiting" ? 2 : 0);
      const note: NoteItem = { kind: "note", key: this.key(), note: "startedAnew" };
      if (place > 0) this.patch({ items: [...items.slice(0, place), note, ...items.slice(place)] });
      return run(fresh);
    }
  }

  private async open(): Promise<Credentials> {
    const credentials = await api.createConversation(this.language());
    this.credentials = credentials;
    saveCredentials(credentials);
    return credentials;
  }

  private forget(): void {
    this.credentials = null;
    saveCredentials(null);
  }

  // ---- state -------------------------------------------------------------------------------------------------------

  private patch(part: Partial<ChatState>): void {
    this.state.set({ ...this.state.get(), ...part });
  }

  private append(item: Item): void {
    this.patch({ items: [...this.state.get().items, item] });
  }

  private change(key: number, part: Partial<Omit<ReplyItem, "kind" | "key">>): void {
    const { items } = this.state.get();
    this.patch({ items: items.map((item) => (item.kind === "reply" && item.key === key ? { ...item, ...part } : item)) });
  }

  private reply(key: number): ReplyItem | null {
    for (const item of this.state.get().items) {
      if (item.kind === "reply" && item.key === key) return item;
    }
    return null;
  }

  /** The items without a reply and the question it belongs to. */
  private without(reply: ReplyItem): readonly Item[] {
    const { items } = this.state.get();
    const at = items.indexOf(reply);
    const first = items[at - 1]?.kind === "visitor" ? at - 1 : at;
    return [...items.slice(0, first), ...items.slice(at + 1)];
  }

  private key(): number {
    this.lastKey += 1;
    return this.lastKey;
  }

  private newReply(question: string): ReplyItem {
    return {
      kind: "reply",
      key: this.key(),
      author: "assistant",
      question,
      phase: "waiting",
      text: "",
      route: null,
      citations: [],
      queue: null,
      handoff: null,
      failure: null,
      messageId: "",
      rating: null,
      timings: null,
      model: "",
      kbVersion: "",
      related: [],
    };
  }

  private storedItems(messages: readonly StoredMessage[]): Item[] {
    let question = "";
    return messages.map((message): Item => {
      if (message.role === "system") return { kind: "note", key: this.key(), note: { text: message.text } };
      if (message.role === "visitor") {
        question = message.text;
        return { kind: "visitor", key: this.key(), text: message.text };
      }
      return {
        ...this.newReply(question),
        author: message.role,
        phase: "done",
        text: message.text,
        route: message.route,
        citations: [...message.citations].sort((a, b) => a.n - b.n),
        messageId: message.id,
        rating: message.rating,
      };
    });
  }
}
