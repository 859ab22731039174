/** Finds the quote of a citation inside its passage. */

export interface Range {
  readonly start: number;
  readonly end: number;
}

interface Offsets {
  readonly start: number | null;
  readonly end: number | null;
}

/**
 * The exact string first; then the same characters with other white space; then the byte offsets that the citation
 * and the passage carry, counted from the document's beginning. `null`: the quote is not there.
 */
export function locateQuote(text: string, quote: string, cited: Offsets, passageStart: number | null): Range | null {
  const wanted = quote.trim();
  if (wanted !== "") {
    const exact = text.indexOf(wanted);
    if (exact >= 0) return { start: exact, end: exact + wanted.length };
    const loose = locateIgnoringSpace(text, wanted);
    if (loose !== null) return loose;
  }
  if (cited.start === null || cited.end === null || passageStart === null) return null;
  return byteRange(text, cited.start - passageStart, cited.end - passageStart);
}

function locateIgnoringSpace(text: string, wanted: string): Range | null {
  const places: number[] = [];
  let dense = "";
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charAt(i);
    if (/\s/u.test(unit)) continue;
    dense += unit;
    places.push(i);
  }
  const needle = wanted.replace(/\s+/gu, "");
  const at = needle === "" ? -1 : dense.indexOf(needle);
  const first = places[at];
  const last = places[at + needle.length - 1];
  return first === undefined || last === undefined ? null : { start: first, end: last + 1 };
}

/** UTF-8 byte offsets to a range of the string; `null` when they are outside it or cut a character apart. */
export function byteRange(text: string, startByte: number, endByte: number): Range | null {
  if (!Number.isInteger(startByte) || !Number.isInteger(endByte) || startByte < 0 || endByte <= startByte) return null;
  let bytes = 0;
  let units = 0;
  let start: number | null = null;
  let end: number | null = null;
  const note = (): void => {
    if (bytes === startByte) start = units;
    if (bytes === endByte) end = units;
  };
  note();
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    units += character.length;
    note();
    if (end !== null) break;
  }
  return start === null || end === null ? null : { start, end };
}
