/** What the server says, as typed values. Everything that arrives is checked before it gets one of these types. */

export const ROUTES = ["faq", "flow", "passages", "smalltalk", "clarify", "refuse", "handoff"] as const;
export type Route = (typeof ROUTES)[number];

export interface Citation {
  readonly n: number;
  readonly documentId: string;
  readonly title: string;
  readonly passageId: string;
  readonly quote: string;
  readonly start: number | null;
  readonly end: number | null;
  readonly kbVersion: string;
}

export interface Timings {
  readonly understand: number | null;
  readonly retrieve: number | null;
  readonly firstToken: number | null;
  readonly total: number | null;
}

/** Something one may ask next. */
export interface Related {
  readonly question: string;
  readonly kind: string;
}

export type ReplyEvent =
  | { readonly type: "route"; readonly route: Route }
  | { readonly type: "citation"; readonly citation: Citation }
  | { readonly type: "token"; readonly text: string }
  | { readonly type: "queue"; readonly position: number }
  | { readonly type: "handoff"; readonly reason: string; readonly position: number | null }
  | {
      readonly type: "done";
      readonly messageId: string;
      readonly timings: Timings;
      readonly model: string;
      readonly kbVersion: string;
      readonly related: readonly Related[];
    }
  | { readonly type: "error"; readonly code: string; readonly message: string };

export const ROLES = ["visitor", "assistant", "agent", "system"] as const;
export type Role = (typeof ROLES)[number];

export interface StoredMessage {
  readonly id: string;
  readonly role: Role;
  readonly text: string;
  readonly route: Route | null;
  readonly citations: readonly Citation[];
  readonly rating: number | null;
}

export interface StoredConversation {
  readonly id: string;
  readonly status: string;
  readonly messages: readonly StoredMessage[];
}

export interface Passage {
  readonly passageId: string;
  readonly title: string;
  readonly titlePath: readonly string[];
  readonly text: string;
  readonly start: number | null;
  readonly kbVersion: string;
  readonly sourceUri: string;
}

export interface Handoff {
  readonly status: string;
  readonly position: number | null;
  readonly message: string;
}
