import type { ComponentChildren, JSX } from "preact";
import { useMemo } from "preact/hooks";

import { parseMarkup, withoutOpenMark, type Inline } from "../markup";
import type { Citation } from "../types";
import { useWords } from "../words";
import { Blocks } from "./Blocks";

interface Props {
  readonly text: string;
  readonly streaming: boolean;
  readonly citations: readonly Citation[];
  readonly onOpen: (citation: Citation) => void;
}

/** The text of a reply, its `[n]` marks turned into buttons. */
export function Answer({ text, streaming, citations, onOpen }: Props): JSX.Element {
  const words = useWords();
  const blocks = useMemo(() => {
    const known = new Set(citations.map((citation) => citation.n));
    return parseMarkup(streaming ? withoutOpenMark(text) : text, known);
  }, [text, streaming, citations]);

  const draw = (part: Inline): ComponentChildren => {
    if (part.kind !== "cite") return part.kind === "strong" ? <strong>{part.text}</strong> : part.text;
    const citation = citations.find((known) => known.n === part.n);
    if (citation === undefined) return `[${part.n}]`;
    const label = words.openSource(citation.n, citation.title);
    return (
      <button
        type="button"
        class="cite"
        data-testid="cite-mark"
        aria-label={label}
        title={citation.title}
        onClick={() => onOpen(citation)}
      >
        {citation.n}
      </button>
    );
  };

  return (
    <div class="text" data-testid="answer-text">
      <Blocks blocks={blocks} draw={draw} />
    </div>
  );
}
