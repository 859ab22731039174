/** What the server says of people and knowledge, as typed values; `read.ts` makes them. */

export const ROLES = ["agent", "supervisor", "admin", "auditor"] as const;
export type StaffRole = (typeof ROLES)[number];

export interface User {
  readonly id: string;
  readonly name: string;
  readonly displayName: string;
  readonly role: StaffRole;
  readonly mustChange: boolean;
}

export interface AuditLine {
  readonly seq: number;
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly object: string;
  readonly detail: string;
}

export interface Overview {
  readonly version: number;
  readonly documents: number;
  readonly passages: number;
  readonly faqs: number;
  readonly drafts: number;
  readonly inReview: number;
  /** `null` where the server does not look for gaps and suggestions. */
  readonly gaps: number | null;
  readonly suggestions: number | null;
  readonly fourEyes: boolean;
}

/** Who may be told, where and when; the names are the server's. */
export interface Scope {
  readonly effective_from: string | null;
  readonly expires_at: string | null;
  readonly audiences: readonly string[];
  readonly channels: readonly string[];
}

export const EVERYBODY: Scope = { effective_from: null, expires_at: null, audiences: [], channels: [] };

export interface DocumentSummary {
  readonly id: string;
  readonly source: string;
  readonly title: string;
  readonly format: string;
  readonly bytes: number;
  readonly passages: number | null;
  readonly importedAt: string;
  readonly scope: Scope;
}

export interface Passage {
  readonly id: string;
  readonly title: string;
  readonly page: number | null;
  readonly start: number;
  readonly end: number;
}

export interface Document extends DocumentSummary {
  readonly text: string;
  readonly spans: readonly Passage[];
}

export interface ImportFile {
  readonly source: string;
  readonly outcome: string;
  readonly passages: number | null;
  /** Questions that were read, where the file holds such. */
  readonly faqs: number | null;
  /** Drafts that it made; one of them is `revisionId`. */
  readonly drafts: number;
  /** Numbers of persons that were masked in it. */
  readonly masked: number;
  readonly error: string;
  readonly revisionId: string;
}

export interface ImportJob {
  readonly state: "running" | "done" | "failed" | "cancelled";
  readonly filesDone: number;
  readonly filesTotal: number;
  readonly embedded: number;
  readonly embedTotal: number;
  readonly files: readonly ImportFile[];
  readonly error: string;
}

export interface Faq {
  readonly id: string;
  readonly key: string;
  readonly question: string;
  readonly variants: readonly string[];
  readonly answer: string;
  readonly category: string;
  readonly scope: Scope;
}

export interface FaqDraft {
  readonly key?: string;
  readonly question: string;
  readonly variants: readonly string[];
  readonly answer: string;
  readonly category: string;
  readonly scope: Scope;
}

export type RevisionState = "draft" | "review" | "published" | "retired" | "rejected";

export interface RevisionSummary {
  readonly id: string;
  readonly kind: "document" | "faq";
  readonly itemId: string;
  readonly number: number | null;
  readonly state: RevisionState;
  readonly removes: boolean;
  readonly name: string;
  readonly title: string;
  readonly author: string;
  readonly note: string;
  readonly createdAt: string;
  readonly scope: Scope;
}

/** What a revision says, of either kind. */
export interface Content {
  readonly title: string;
  readonly text: string;
  readonly question: string;
  readonly variants: readonly string[];
  readonly answer: string;
  readonly category: string;
  readonly scope: Scope;
}

export interface Revision extends RevisionSummary {
  readonly content: Content | null;
  readonly published: Content | null;
}

export interface GoldenOutcome {
  readonly route: string;
  readonly answer: string;
}

export interface Worse {
  readonly question: string;
  readonly before: GoldenOutcome;
  readonly after: GoldenOutcome;
}

export interface GoldenReport {
  readonly asked: number;
  readonly rightBefore: number;
  readonly rightAfter: number;
  readonly worse: readonly Worse[];
}

export interface Published {
  readonly version: number;
  readonly golden: GoldenReport | null;
}

export interface Version {
  readonly version: number;
  readonly note: string;
  readonly author: string;
  readonly createdAt: string;
}

export interface VersionChange {
  readonly kind: string;
  readonly itemId: string;
  readonly name: string;
  readonly title: string;
  readonly what: "added" | "changed" | "removed";
}

export interface Expectation {
  readonly source?: string;
  readonly faq_key?: string;
  readonly contains?: readonly string[];
  readonly refuse?: boolean;
}

export interface Golden {
  readonly id: string;
  readonly question: string;
  readonly expect: Expectation;
}

export const SCORES = ["dense", "lexical", "segment", "segment_words", "fused", "coverage", "reading", "yes", "likelihood"] as const;
export type ScoreName = (typeof SCORES)[number];

export interface Stage {
  readonly kind: string;
  readonly id: string;
  readonly title: string;
  readonly text: string;
  readonly scores: Readonly<Partial<Record<ScoreName, number>>>;
}

export interface TrialCitation {
  readonly n: number;
  readonly title: string;
  readonly quote: string;
  readonly documentId: string;
}

export interface Trial {
  readonly route: string;
  readonly confidence: number | null;
  readonly answer: string;
  readonly citations: readonly TrialCitation[];
  readonly stages: readonly Stage[];
  readonly totalMs: number | null;
  readonly version: number | null;
}

export interface Gap {
  readonly id: string;
  readonly question: string;
  readonly count: number;
  readonly examples: readonly string[];
  readonly firstAt: string;
  readonly lastAt: string;
  readonly state: string;
}

export interface Similar {
  readonly id: string;
  readonly question: string;
  readonly similarity: number | null;
}

export interface Suggestion {
  readonly id: string;
  readonly question: string;
  readonly variants: readonly string[];
  readonly answer: string;
  readonly origin: string;
  readonly similar: readonly Similar[];
  readonly state: string;
  readonly createdAt: string;
}

/** A text with what who says it wants. */
export interface Example {
  readonly text: string;
  readonly intent: string;
}

export interface IntentCount {
  readonly intent: string;
  readonly given: number;
  readonly corrected: number;
}

export interface IntentHead {
  readonly version: number;
  readonly labels: number;
  readonly examples: number;
  readonly accuracy: number;
  readonly macroF1: number;
}

export interface Intents {
  readonly items: readonly IntentCount[];
  readonly head: IntentHead | null;
  readonly training: { readonly by: string; readonly done: number } | null;
  readonly failed: string;
}
