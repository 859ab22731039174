import type { ComponentChildren, JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { parseMarkup, type Inline } from "../markup";
import { locateQuote, type Range } from "../quote";
import type { Citation, Passage } from "../types";
import { useWords } from "../words";
import { Blocks } from "./Blocks";
import { Dialog } from "./Dialog";
import { CloseIcon } from "./icons";

interface Props {
  readonly citation: Citation;
  readonly load: (citation: Citation) => Promise<Passage>;
  readonly onClose: () => void;
}

type Loaded = Passage | "loading" | "failed";

/** The passage behind a citation, with the quoted words marked. */
export function PassageDialog({ citation, load, onClose }: Props): JSX.Element {
  const words = useWords();
  const [passage, setPassage] = useState<Loaded>("loading");
  const [attempt, setAttempt] = useState(0);
  const close = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    let current = true;
    setPassage("loading");
    load(citation).then(
      (found) => current && setPassage(found),
      () => current && setPassage("failed"),
    );
    return () => {
      current = false;
    };
    // `load` is made anew on every drawing; the citation decides.
  }, [citation, attempt]);

  const path = typeof passage === "string" ? [] : passage.titlePath.filter((part) => part !== citation.title);
  return (
    <Dialog class="dialog-passage" label={`${words.source} ${citation.n}`} onClose={onClose} testId="passage-dialog">
      <header class="passage-header">
        <div class="passage-heading">
          <p class="passage-kicker">
            {words.source} {citation.n}
          </p>
          <h2 class="dialog-title">{citation.title}</h2>
          {path.length > 0 && (
            <p class="passage-path" data-testid="title-path">
              {path.join(" › ")}
            </p>
          )}
        </div>
        <button
          ref={close}
          type="button"
          class="tool"
          data-testid="passage-close"
          aria-label={words.close}
          title={words.close}
          onClick={(event) => event.currentTarget.closest("dialog")?.close()}
        >
          <CloseIcon />
        </button>
      </header>
      <div class="passage-body" tabIndex={0}>
        {passage === "loading" && <p class="muted">{words.passageLoading}</p>}
        {passage === "failed" && (
          <div role="alert">
            <p>{words.passageFailed}</p>
            {citation.quote !== "" && <Quote text={citation.quote} label={words.quoted} />}
            <button type="button" class="button" onClick={() => setAttempt((count) => count + 1)}>
              {words.retry}
            </button>
          </div>
        )}
        {typeof passage !== "string" && <PassageText citation={citation} passage={passage} />}
      </div>
      {typeof passage !== "string" && (
        <footer class="passage-footer">
          {passage.sourceUri !== "" && (
            <p>
              {words.sourceFile} <span class="mono">{passage.sourceUri}</span>
            </p>
          )}
          {passage.kbVersion !== "" && (
            <p>
              {words.knowledge} <span class="mono">{passage.kbVersion}</span>
            </p>
          )}
        </footer>
      )}
    </Dialog>
  );
}

function Quote({ text, label }: { readonly text: string; readonly label: string }): JSX.Element {
  return (
    <figure class="quote">
      <figcaption>{label}</figcaption>
      <blockquote>{text}</blockquote>
    </figure>
  );
}

function PassageText({ citation, passage }: { readonly citation: Citation; readonly passage: Passage }): JSX.Element {
  const words = useWords();
  const body = useRef<HTMLDivElement>(null);
  const blocks = useMemo(() => parseMarkup(passage.text), [passage]);
  const range = useMemo(() => locateQuote(passage.text, citation.quote, citation, passage.start), [passage, citation]);

  useEffect(() => {
    body.current?.querySelector("mark")?.scrollIntoView({ block: "center" });
  }, [range]);

  return (
    <>
      {range === null && citation.quote !== "" && <Quote text={citation.quote} label={words.quoteNotFound} />}
      <div ref={body} class="text" data-testid="passage-text">
        <Blocks blocks={blocks} draw={(part) => marked(part, range)} />
      </div>
    </>
  );
}

/** A run of text, cut where the marked range begins and ends. */
function marked(part: Inline, range: Range | null): ComponentChildren {
  if (part.kind === "cite") return null;
  const { text, start } = part;
  const from = range === null ? 0 : Math.min(Math.max(range.start - start, 0), text.length);
  const to = range === null ? 0 : Math.min(Math.max(range.end - start, 0), text.length);
  const drawn =
    to <= from ? (
      text
    ) : (
      <>
        {text.slice(0, from)}
        <mark>{text.slice(from, to)}</mark>
        {text.slice(to)}
      </>
    );
  return part.kind === "strong" ? <strong>{drawn}</strong> : drawn;
}
