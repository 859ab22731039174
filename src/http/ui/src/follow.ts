import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { RefObject } from "preact";

/** Scrolling down to within this distance of the end takes hold of it again. */
const NEAR_PX = 32;
/** Browsers round scroll positions on scaled screens. */
const AT_END_PX = 1.5;

function toEnd(view: HTMLElement): number {
  return view.scrollHeight - view.clientHeight - view.scrollTop;
}

interface Follow {
  readonly area: RefObject<HTMLDivElement | null>;
  readonly content: RefObject<HTMLDivElement | null>;
  readonly following: boolean;
  readonly jump: () => void;
}

/**
 * Keeps the end of a growing list in view for as long as the reader is there (and `active`: there is a list at all). Any scroll upwards lets go at once;
 * coming back to the end takes hold again.
 */
export function useFollow(active: boolean): Follow {
  const area = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const hold = useRef(true);
  const enabled = useRef(active);
  enabled.current = active;
  const [following, setFollowing] = useState(true);

  const setHold = useCallback((next: boolean) => {
    hold.current = next;
    setFollowing(next);
  }, []);

  const jump = useCallback(() => {
    setHold(true);
    const view = area.current;
    if (view !== null && enabled.current) view.scrollTop = view.scrollHeight;
  }, [setHold]);

  useEffect(() => {
    const view = area.current;
    const inner = content.current;
    if (view === null || inner === null) return undefined;
    let lastTop = view.scrollTop;
    let lastHeight = view.scrollHeight;
    const onScroll = (): void => {
      const movedUp = view.scrollTop < lastTop - 1 && view.scrollHeight >= lastHeight;
      if (toEnd(view) <= AT_END_PX) setHold(true);
      else if (movedUp) setHold(false);
      else if (toEnd(view) <= NEAR_PX) setHold(true);
      lastTop = view.scrollTop;
      lastHeight = view.scrollHeight;
    };
    const keep = new ResizeObserver(() => {
      if (hold.current && enabled.current) view.scrollTop = view.scrollHeight;
      else if (toEnd(view) <= AT_END_PX) setHold(true);
      lastTop = view.scrollTop;
      lastHeight = view.scrollHeight;
    });
    keep.observe(inner);
    keep.observe(view);
    view.addEventListener("scroll", onScroll, { passive: true });
    return () => {
      keep.disconnect();
      view.removeEventListener("scroll", onScroll);
    };
  }, [setHold]);

  return { area, content, following, jump };
}
