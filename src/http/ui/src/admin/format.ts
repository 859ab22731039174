/** Dates, sizes and scopes in words. */

import type { Scope } from "./model";
import type { AdminWords } from "./words";

export function when(iso: string, language: string): string {
  const date = new Date(iso);
  if (iso === "" || Number.isNaN(date.getTime())) return "—";
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(date);
}

export function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(bytes < 10240 ? 1 : 0)} KB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

export function scopeInWords(scope: Scope, words: AdminWords, language: string): string {
  const parts: string[] = [];
  if (scope.effective_from !== null) parts.push(`${when(scope.effective_from, language)} ${words.from}`);
  if (scope.expires_at !== null) parts.push(`${when(scope.expires_at, language)} ${words.until}`);
  if (scope.audiences.length > 0) parts.push(scope.audiences.join(", "));
  if (scope.channels.length > 0) parts.push(scope.channels.join(", "));
  return parts.length === 0 ? words.everybody : parts.join(" · ");
}

/** For `<input type="datetime-local">`, which knows no time zone: the reader's own. */
export function toLocalInput(iso: string | null): string {
  if (iso === null) return "";
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}

export function fromLocalInput(value: string): string | null {
  const date = new Date(value);
  return value === "" || Number.isNaN(date.getTime()) ? null : date.toISOString();
}

export function separated(text: string): readonly string[] {
  return [...new Set(text.split(/[,，、\s]+/u).filter((word) => word !== ""))];
}

export function lines(text: string): readonly string[] {
  return [...new Set(text.split("\n").map((line) => line.trim()).filter((line) => line !== ""))];
}

/** Examples as people paste them, one a line: the words, then the intent, with a tab or the last comma between. The first line that
 * has none of them is `wrong`, from 1. */
export function examplesOf(pasted: string): { readonly examples: readonly { text: string; intent: string }[]; readonly wrong: number | null } {
  const examples: { text: string; intent: string }[] = [];
  for (const [at, line] of pasted.split(/\r?\n/u).entries()) {
    if (line.trim() === "") continue;
    const cut = line.includes("\t") ? line.lastIndexOf("\t") : Math.max(line.lastIndexOf(","), line.lastIndexOf("，"));
    const text = line.slice(0, Math.max(cut, 0)).trim();
    const intent = line.slice(cut + 1).trim();
    if (cut < 0 || text === "" || intent === "") return { examples, wrong: at + 1 };
    examples.push({ text, intent });
  }
  return { examples, wrong: null };
}
