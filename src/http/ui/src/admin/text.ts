/** Texts: byte places as the server counts them, and what changed between two of them. */

export interface Span {
  readonly start: number;
  readonly end: number;
}

/** For each byte offset (UTF-8) the place in the string; offsets within a character move to its beginning. */
export function stringPlaces(text: string, bytes: readonly number[]): readonly number[] {
  const order = bytes.map((byte, at) => ({ byte, at })).sort((a, b) => a.byte - b.byte);
  const places = new Array<number>(bytes.length).fill(0);
  let byte = 0;
  let place = 0;
  let next = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    const width = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (let entry = order[next]; entry !== undefined && entry.byte < byte + width; entry = order[next]) {
      places[entry.at] = place;
      next += 1;
    }
    byte += width;
    place += character.length;
    if (next >= order.length) break;
  }
  for (const entry of order.slice(next)) places[entry.at] = text.length;
  return places;
}

export interface Piece {
  readonly text: string;
  /** Index of the passage it belongs to; null between passages. */
  readonly passage: number | null;
}

/** The text cut into passages and what stands between them. Where two overlap, the later begins where the earlier ends. */
export function pieces(text: string, spans: readonly Span[]): readonly Piece[] {
  const places = stringPlaces(text, spans.flatMap((span) => [span.start, span.end]));
  const order = spans
    .map((_, passage) => ({ passage, start: places[2 * passage] ?? 0, end: places[2 * passage + 1] ?? 0 }))
    .sort((a, b) => a.start - b.start || a.end - b.end);
  const found: Piece[] = [];
  let at = 0;
  for (const { passage, start, end } of order) {
    const begin = Math.max(start, at);
    if (end <= begin) continue;
    if (begin > at) found.push({ text: text.slice(at, begin), passage: null });
    found.push({ text: text.slice(begin, end), passage });
    at = end;
  }
  if (at < text.length) found.push({ text: text.slice(at), passage: null });
  return found;
}

export interface Change {
  readonly kind: "same" | "added" | "removed";
  readonly text: string;
}

/** Words of Latin letters and digits, runs of spaces, and single other characters: Chinese is compared by character. */
export function words(text: string): readonly string[] {
  return text.match(/[\p{Script=Latin}\p{N}]+(?:[.,:'’-][\p{Script=Latin}\p{N}]+)*|[^\S\n]+|\n|./gsu) ?? [];
}

/** More differences than this are not looked for: both sides are shown whole. */
const MAX_DISTANCE = 1200;

/** The shortest way from `old` to `next`. Source: Myers 1986, "An O(ND) Difference Algorithm and Its Variations". */
function shortest(old: readonly string[], next: readonly string[]): readonly Change[] | null {
  const n = old.length;
  const m = next.length;
  const limit = Math.min(n + m, MAX_DISTANCE);
  // furthest[offset + k]: how far into `old` the diagonal k was followed.
  const offset = limit + 1;
  const furthest = new Int32Array(2 * offset + 1);
  const trace: Int32Array[] = [];
  for (let d = 0; d <= limit; d += 1) {
    // As it was before this round: diagonals -d-1 to d+1.
    trace.push(furthest.slice(offset - d - 1, offset + d + 2));
    for (let k = -d; k <= d; k += 2) {
      const left = furthest[offset + k - 1] ?? 0;
      const right = furthest[offset + k + 1] ?? 0;
      let x = k === -d || (k !== d && left < right) ? right : left + 1;
      let y = x - k;
      while (x < n && y < m && old[x] === next[y]) {
        x += 1;
        y += 1;
      }
      furthest[offset + k] = x;
      if (x >= n && y >= m) return walkBack(old, next, trace);
    }
  }
  return null;
}

function walkBack(old: readonly string[], next: readonly string[], trace: readonly Int32Array[]): readonly Change[] {
  const changes: Change[] = [];
  let x = old.length;
  let y = next.length;
  const same = (): void => {
    x -= 1;
    y -= 1;
    changes.push({ kind: "same", text: old[x] ?? "" });
  };
  for (let d = trace.length - 1; d > 0; d -= 1) {
    const before = trace[d] ?? new Int32Array();
    const k = x - y;
    const left = before[d + k] ?? 0;
    const right = before[d + k + 2] ?? 0;
    const down = k === -d || (k !== d && left < right);
    const fromX = down ? right : left;
    const fromY = fromX - (down ? k + 1 : k - 1);
    while (x > (down ? fromX : fromX + 1) && y > (down ? fromY + 1 : fromY)) same();
    if (down) {
      y -= 1;
      changes.push({ kind: "added", text: next[y] ?? "" });
    } else {
      x -= 1;
      changes.push({ kind: "removed", text: old[x] ?? "" });
    }
  }
  while (x > 0 && y > 0) same();
  return changes.reverse();
}

function joined(changes: readonly Change[]): readonly Change[] {
  const found: Change[] = [];
  for (const change of changes) {
    const last = found[found.length - 1];
    if (last !== undefined && last.kind === change.kind) {
      found[found.length - 1] = { kind: last.kind, text: last.text + change.text };
    } else found.push(change);
  }
  return found;
}

/** What changed from `old` to `next`: by line first, then by word within lines that changed. */
export function difference(old: string, next: string): readonly Change[] {
  if (old === next) return old === "" ? [] : [{ kind: "same", text: old }];
  const lines = (text: string): readonly string[] => text.match(/[^\n]*\n|[^\n]+$/gu) ?? [];
  const coarse = shortest(lines(old), lines(next)) ?? [
    { kind: "removed", text: old },
    { kind: "added", text: next },
  ];
  const found: Change[] = [];
  let removed = "";
  let added = "";
  const settle = (): void => {
    if (removed !== "" && added !== "") {
      const fine = shortest(words(removed), words(added));
      found.push(...(fine ?? [{ kind: "removed", text: removed } as const, { kind: "added", text: added } as const]));
    } else if (removed !== "") found.push({ kind: "removed", text: removed });
    else if (added !== "") found.push({ kind: "added", text: added });
    removed = "";
    added = "";
  };
  for (const change of coarse) {
    if (change.kind === "removed") removed += change.text;
    else if (change.kind === "added") added += change.text;
    else {
      settle();
      found.push(change);
    }
  }
  settle();
  return joined(found);
}
