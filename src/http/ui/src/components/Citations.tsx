import type { JSX } from "preact";

import { plainQuote } from "../markup";
import type { Citation } from "../types";
import { useWords } from "../words";
import { ChevronIcon } from "./icons";

interface Props {
  readonly citations: readonly Citation[];
  readonly onOpen: (citation: Citation) => void;
}

export function Citations({ citations, onOpen }: Props): JSX.Element {
  const words = useWords();
  return (
    <section class="sources" aria-label={words.sources(citations.length)}>
      <h2 class="sources-title">{words.sources(citations.length)}</h2>
      <ol class="sources-list">
        {citations.map((citation) => (
          <li key={citation.n}>
            <button
              type="button"
              class="source"
              data-testid="citation"
              data-passage-id={citation.passageId}
              onClick={() => onOpen(citation)}
            >
              <span class="source-number">{citation.n}</span>
              <span class="source-text">
                <span class="source-title">{citation.title}</span>
                {citation.quote !== "" && <span class="source-quote">{plainQuote(citation.quote)}</span>}
              </span>
              <ChevronIcon />
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}
