/** Browser storage that may be switched off or full: then nothing is remembered, and nothing breaks. */

import { parseJson } from "./decode";
import type { Credentials } from "./api";

const SESSION_KEY = "kefu.conversation";

export function read(area: () => Storage, key: string): string | null {
  try {
    return area().getItem(key);
  } catch {
    return null;
  }
}

export function write(area: () => Storage, key: string, value: string | null): void {
  try {
    if (value === null) area().removeItem(key);
    else area().setItem(key, value);
  } catch {
    // Private browsing or a full store: the page works without.
  }
}

/**
 * The visitor's conversation lives in the tab's own store: it survives a reload and ends with the tab, so that the next
 * person at a shared computer does not find it.
 */
export function loadCredentials(): Credentials | null {
  const from = parseJson(read(() => sessionStorage, SESSION_KEY) ?? "");
  const id = from?.["id"];
  const token = from?.["token"];
  return typeof id === "string" && typeof token === "string" ? { id, token } : null;
}

export function saveCredentials(credentials: Credentials | null): void {
  write(() => sessionStorage, SESSION_KEY, credentials === null ? null : JSON.stringify(credentials));
}
