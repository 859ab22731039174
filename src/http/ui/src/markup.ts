/**
 * The little markup that an answer or a passage may hold: paragraphs, headings, lists, pipe tables, **bold** and
 * `[n]` citation marks. The result is data that the components turn into elements; no HTML is ever made from text.
 * Every run of text knows its place in the source, so that a quote can be marked inside a table as well.
 */

/** `source.slice(start, start + text.length) === text` holds for every run. */
export interface Run {
  readonly kind: "text" | "strong";
  readonly text: string;
  readonly start: number;
}

export interface Mark {
  readonly kind: "cite";
  readonly n: number;
  readonly start: number;
}

export type Inline = Run | Mark;
export type Line = readonly Inline[];

export type Block =
  | { readonly kind: "paragraph"; readonly lines: readonly Line[] }
  | { readonly kind: "heading"; readonly line: Line }
  | { readonly kind: "list"; readonly ordered: boolean; readonly first: number; readonly items: readonly Line[] }
  | { readonly kind: "table"; readonly head: readonly Line[]; readonly rows: readonly (readonly Line[])[] };

interface SourceLine {
  readonly text: string;
  readonly start: number;
}

const NO_CITATIONS: ReadonlySet<number> = new Set();
const BULLET = /^\s*[-*•·]\s+(?=\S)/u;
const NUMBERED = /^\s*(\d{1,3})(?:[.)]\s+|[、．]\s*)(?=\S)/u;
const HEADING = /^#{1,6}\s+(?=\S)/u;
const RULE_CELL = /^:?-+:?$/u;

function splitLines(source: string): SourceLine[] {
  const lines: SourceLine[] = [];
  const pattern = /\r\n|\r|\n/gu;
  let start = 0;
  for (const end of source.matchAll(pattern)) {
    lines.push({ text: source.slice(start, end.index), start });
    start = end.index + end[0].length;
  }
  lines.push({ text: source.slice(start), start });
  return lines;
}

/** Splits one line at `[n]` marks of known citations and at `**bold**`; everything else stays as it is written. */
export function splitInline(text: string, known: ReadonlySet<number>, offset = 0): Inline[] {
  const out: Inline[] = [];
  const pattern = /\[(\d{1,3})\]|\*\*(?=\S)([^*]*[^*\s])\*\*/gu;
  let from = 0;
  const plain = (end: number): void => {
    if (end > from) out.push({ kind: "text", text: text.slice(from, end), start: offset + from });
  };
  for (const match of text.matchAll(pattern)) {
    const digits = match[1];
    const bold = match[2];
    if (digits !== undefined) {
      const n = Number(digits);
      if (!known.has(n)) continue;
      plain(match.index);
      out.push({ kind: "cite", n, start: offset + match.index });
    } else if (bold !== undefined) {
      plain(match.index);
      const inner = match.index + 2;
      for (const part of splitInline(bold, known, offset + inner)) {
        out.push(part.kind === "text" ? { ...part, kind: "strong" } : part);
      }
    }
    from = match.index + match[0].length;
  }
  plain(text.length);
  return out;
}

function cells(line: SourceLine): SourceLine[] | null {
  const trimmed = line.text.trim();
  if (!trimmed.startsWith("|") || trimmed.length < 2) return null;
  const found: SourceLine[] = [];
  let at = line.text.indexOf("|") + 1;
  const last = line.text.trimEnd().length;
  while (at < last) {
    let end = at;
    while (end < last && !(line.text[end] === "|" && line.text[end - 1] !== "\\")) end += 1;
    const raw = line.text.slice(at, end);
    const lead = raw.length - raw.trimStart().length;
    found.push({ text: raw.trim(), start: line.start + at + lead });
    at = end + 1;
  }
  return found;
}

function isRule(row: readonly SourceLine[] | null): boolean {
  return row !== null && row.length > 0 && row.every((cell) => RULE_CELL.test(cell.text));
}

/** Parses a whole text. `known` are the citation numbers that exist; other brackets stay text. */
export function parseMarkup(source: string, known: ReadonlySet<number> = NO_CITATIONS): Block[] {
  const lines = splitLines(source);
  const blocks: Block[] = [];
  const inline = (line: SourceLine): Line => splitInline(line.text, known, line.start);
  const after = (line: SourceLine, length: number): Line =>
    splitInline(line.text.slice(length), known, line.start + length);
  let paragraph: Line[] = [];
  const flush = (): void => {
    if (paragraph.length > 0) blocks.push({ kind: "paragraph", lines: paragraph });
    paragraph = [];
  };

  let i = 0;
  while (i < lines.length) {
    const line = lines[i];
    if (line === undefined) break;
    if (line.text.trim() === "") {
      flush();
      i += 1;
      continue;
    }

    const head = cells(line);
    const below = lines[i + 1];
    if (head !== null && below !== undefined && isRule(cells(below))) {
      flush();
      const rows: Line[][] = [];
      i += 2;
      for (let next = lines[i]; next !== undefined; next = lines[i]) {
        const row = cells(next);
        if (row === null) break;
        rows.push(head.map((_, column) => {
          const cell = row[column];
          return cell === undefined ? [] : [...inline(cell)];
        }));
        i += 1;
      }
      blocks.push({ kind: "table", head: head.map(inline), rows });
      continue;
    }

    const heading = HEADING.exec(line.text);
    if (heading !== null) {
      flush();
      blocks.push({ kind: "heading", line: after(line, heading[0].length) });
      i += 1;
      continue;
    }

    const numbered = NUMBERED.exec(line.text);
    const marker = numbered === null ? BULLET : NUMBERED;
    if (marker.test(line.text)) {
      flush();
      const items: Line[] = [];
      for (let next = lines[i]; next !== undefined; next = lines[i]) {
        const item = marker.exec(next.text);
        if (item === null) break;
        items.push(after(next, item[0].length));
        i += 1;
      }
      blocks.push({ kind: "list", ordered: numbered !== null, first: Number(numbered?.[1] ?? 1), items });
      continue;
    }

    paragraph.push(inline(line));
    i += 1;
  }
  flush();
  return blocks;
}

/** Hides the beginning of a mark that is still being streamed (`[1` before `]` arrives), so that it does not flicker. */
export function withoutOpenMark(text: string): string {
  return text.replace(/\[\d{0,3}$/u, "");
}

/** One line of a quote for a list: its words without the signs of tables, headings, lists and bold. */
export function plainQuote(quote: string): string {
  return quote
    .split(/[\r\n]+/u)
    .map((line) => line.replace(HEADING, "").replace(BULLET, "").replace(/\*\*/gu, ""))
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .filter((cells) => !cells.every((cell) => cell === "" || RULE_CELL.test(cell)))
    .map((cells) => cells.filter((cell) => cell !== "").join(" · "))
    .join(" ");
}
