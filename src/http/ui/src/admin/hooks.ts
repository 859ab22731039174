/** Loading and acting, with their failures kept where they are shown. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import { isAbort, type ApiError } from "../api";
import type { Page, Params } from "./api";
import { asApiError } from "./failure";
import { setLeaveGuard } from "./router";

export interface Loaded<T> {
  readonly value: T | null;
  readonly failure: ApiError | null;
  readonly loading: boolean;
  readonly reload: () => void;
}

/** Loads anew whenever `key` changes or `reload` is called; what came before stays until then. */
export function useLoaded<T>(key: string, load: () => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ key: string; value: T | null; failure: ApiError | null; loading: boolean }>({
    key,
    value: null,
    failure: null,
    loading: true,
  });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let current = true;
    setState((was) => ({ key, value: was.key === key ? was.value : null, failure: null, loading: true }));
    load().then(
      (value) => current && setState({ key, value, failure: null, loading: false }),
      (error: unknown) =>
        current && setState((was) => ({ ...was, failure: asApiError(error), loading: false })),
    );
    return () => {
      current = false;
    };
  }, [key, round]);
  const reload = useCallback(() => setRound((count) => count + 1), []);
  const mine = state.key === key;
  return { value: mine ? state.value : null, failure: mine ? state.failure : null, loading: !mine || state.loading, reload };
}

export interface Listed<T> {
  readonly items: readonly T[] | null;
  readonly failure: ApiError | null;
  readonly loading: boolean;
  readonly hasMore: boolean;
  readonly more: () => void;
  readonly reload: () => void;
}

/** A list that comes in pages. */
export function useListed<T>(key: string, fetchPage: (params: Params) => Promise<Page<T>>, params: Params = {}): Listed<T> {
  const [extra, setExtra] = useState<{ first: Page<T> | null; items: readonly T[]; next: string | null }>({
    first: null,
    items: [],
    next: null,
  });
  const [loadingMore, setLoadingMore] = useState(false);
  const [moreFailure, setMoreFailure] = useState<ApiError | null>(null);
  const first = useLoaded(key, () => fetchPage(params));
  const page = first.value;
  const known = extra.first === page ? extra : { first: page, items: [], next: page?.next ?? null };
  const more = (): void => {
    if (page === null || known.next === null || loadingMore) return;
    setLoadingMore(true);
    setMoreFailure(null);
    fetchPage({ ...params, cursor: known.next })
      .then((following) => setExtra({ first: page, items: [...known.items, ...following.items], next: following.next }))
      .catch((error: unknown) => setMoreFailure(asApiError(error)))
      .finally(() => setLoadingMore(false));
  };
  return {
    items: page === null ? null : [...page.items, ...known.items],
    failure: first.failure ?? moreFailure,
    loading: first.loading || loadingMore,
    hasMore: known.next !== null,
    more,
    reload: first.reload,
  };
}

export interface Action {
  readonly running: boolean;
  readonly failure: ApiError | null;
  /** Runs one thing at a time; resolves to whether it was done. */
  readonly run: (work: () => Promise<unknown>) => Promise<boolean>;
  readonly clear: () => void;
}

export function useAction(): Action {
  const [running, setRunning] = useState(false);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const busy = useRef(false);
  const run = useCallback(async (work: () => Promise<unknown>): Promise<boolean> => {
    if (busy.current) return false;
    busy.current = true;
    setRunning(true);
    setFailure(null);
    try {
      await work();
      return true;
    } catch (error) {
      if (!isAbort(error)) setFailure(asApiError(error));
      return false;
    } finally {
      busy.current = false;
      setRunning(false);
    }
  }, []);
  return { running, failure, run, clear: useCallback(() => setFailure(null), []) };
}

/** Asks before a page with something unsaved is left. */
export function useLeaveGuard(dirty: boolean, ask: () => Promise<boolean>): void {
  const asking = useRef(ask);
  asking.current = ask;
  useEffect(() => {
    if (!dirty) return undefined;
    setLeaveGuard(() => asking.current());
    return () => setLeaveGuard(null);
  }, [dirty]);
}
