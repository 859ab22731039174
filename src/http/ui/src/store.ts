import { useLayoutEffect, useState } from "preact/hooks";

/** A value that can be watched. Small on purpose: the page has two of them. */
export class Store<T> {
  private value: T;
  private readonly watchers = new Set<() => void>();

  constructor(initial: T) {
    this.value = initial;
  }

  get(): T {
    return this.value;
  }

  set(next: T): void {
    if (Object.is(next, this.value)) return;
    this.value = next;
    for (const watcher of [...this.watchers]) watcher();
  }

  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => {
      this.watchers.delete(watcher);
    };
  }
}

/** Redraws with every change, those between the drawing and its first effect included. */
export function useStore<T>(store: Store<T>): T {
  const [, redraw] = useState(0);
  const drawn = store.get();
  useLayoutEffect(() => {
    const stop = store.watch(() => redraw((count) => count + 1));
    if (!Object.is(drawn, store.get())) redraw((count) => count + 1);
    return stop;
    // Only the first drawing is compared: from then on the store is watched.
  }, [store]);
  return drawn;
}
