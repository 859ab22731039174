import type { JSX } from "preact";
import { useMemo } from "preact/hooks";

import { difference } from "../text";
import { useAdminWords } from "../words";

/** Two texts as one, with what went and what came. Screen readers hear which is which. */
export function Diff({ old, next }: { readonly old: string; readonly next: string }): JSX.Element {
  const words = useAdminWords();
  const changes = useMemo(() => difference(old, next), [old, next]);
  return (
    <div class="diff" data-testid="diff">
      {changes.map((change, n) => {
        if (change.kind === "same") return <span key={n}>{change.text}</span>;
        const [Tag, word] = change.kind === "added" ? (["ins", words.added] as const) : (["del", words.removed] as const);
        return (
          <Tag key={n}>
            <span class="visually-hidden">[{word}: </span>
            {change.text}
            <span class="visually-hidden">]</span>
          </Tag>
        );
      })}
    </div>
  );
}
