/** Where the reader is: a path below /admin, kept in the address bar. */

import { Store } from "../store";

export const ROOT = "/admin";

export interface Place {
  /** Below the root, without slashes at the ends: "" or "documents/0199…". */
  readonly path: string;
  readonly query: URLSearchParams;
}

export function placeOf(url: { pathname: string; search: string }): Place {
  const path = url.pathname.startsWith(ROOT) ? url.pathname.slice(ROOT.length) : "";
  return { path: path.replace(/^\/+|\/+$/gu, ""), query: new URLSearchParams(url.search) };
}

export const place = new Store<Place>(placeOf(location));

/** Asked before the page is left: something is typed that would be lost. Resolves to whether to go on. */
export type LeaveGuard = () => Promise<boolean>;
let guard: LeaveGuard | null = null;

export function setLeaveGuard(next: LeaveGuard | null): void {
  guard = next;
}

function warnBeforeUnload(event: BeforeUnloadEvent): void {
  if (guard !== null) event.preventDefault();
}

export function href(path: string, query?: Readonly<Record<string, string>>): string {
  const words = query === undefined ? "" : `?${new URLSearchParams(query).toString()}`;
  return (path === "" ? ROOT : `${ROOT}/${path}`) + words;
}

function show(): void {
  place.set(placeOf(location));
  scrollTo(0, 0);
}

/** Goes to a place, if nothing typed would be lost or the reader agrees. `replace` leaves no step back. */
export async function go(target: string, options: { replace?: boolean; unguarded?: boolean } = {}): Promise<void> {
  if (guard !== null && options.unguarded !== true && !(await guard())) return;
  guard = null;
  if (options.replace === true) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  show();
}

let shown = location.href;

export function startRouter(): void {
  place.watch(() => {
    shown = location.href;
  });
  addEventListener("beforeunload", warnBeforeUnload);
  addEventListener("popstate", () => {
    if (guard === null) {
      show();
      return;
    }
    // The address has changed already: put it back until the reader has answered.
    const target = location.href;
    history.pushState(null, "", shown);
    void go(target);
  });
}

/** The path split at its slashes. */
export function steps(path: string): readonly string[] {
  return path === "" ? [] : path.split("/").map((step) => decodeSafely(step));
}

function decodeSafely(step: string): string {
  try {
    return decodeURIComponent(step);
  } catch {
    return step;
  }
}
