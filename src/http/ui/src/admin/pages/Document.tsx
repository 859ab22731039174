import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { preferences } from "../../preferences";
import { useStore } from "../../store";
import * as api from "../api";
import { Ask, Done, Failure, Link, Loading, PageHead } from "../components/parts";
import { ScopeFields, scopeFault, scopeInput, scopeOf } from "../components/Scope";
import { scopeInWords, size, when } from "../format";
import { useAction, useLoaded } from "../hooks";
import type { Document, User } from "../model";
import { href } from "../router";
import { may } from "../session";
import { pieces } from "../text";
import { useAdminWords } from "../words";

interface Props {
  readonly id: string;
  readonly revision: string;
  readonly user: User;
}

export function DocumentPage({ id, revision, user }: Props): JSX.Element {
  const words = useAdminWords();
  const { language } = useStore(preferences);
  const loaded = useLoaded(`${id} ${revision}`, () => api.document(id, revision));
  const [asking, setAsking] = useState<"scope" | "remove" | null>(null);
  const [drafted, setDrafted] = useState(false);
  const action = useAction();
  const document = loaded.value;
  if (document === null) {
    return (
      <>
        <PageHead title={words.documentsTitle} />
        <Failure failure={loaded.failure} onRetry={loaded.reload} />
        {loaded.loading && <Loading />}
      </>
    );
  }
  const done = (ok: boolean): void => {
    if (!ok) return;
    setAsking(null);
    setDrafted(true);
  };
  const open = (what: "scope" | "remove"): void => {
    action.clear();
    setAsking(what);
  };
  return (
    <>
      <PageHead
        title={document.title}
        text={
          <>
            <span class="mono break">{document.source}</span> · {document.format} · {size(document.bytes)} · {when(document.importedAt, language)}
            <br />
            {words.colScope}: {scopeInWords(document.scope, words, language)}
          </>
        }
      >
        {may(user, "draft") && revision === "" && (
          <>
            <button type="button" class="button" data-testid="scope" onClick={() => open("scope")}>
              {words.scopeEdit}
            </button>
            <button type="button" class="button button-danger-quiet" data-testid="remove" onClick={() => open("remove")}>
              {words.remove}
            </button>
          </>
        )}
      </PageHead>
      {revision !== "" && <p class="notice">{words.documentIsDraft}</p>}
      <Done>
        {drafted && (
          <p>
            {words.draftSaved} <Link to={href("drafts")}>{words.toDrafts}</Link>
          </p>
        )}
      </Done>
      <Reader document={document} />
      {asking === "remove" && (
        <Ask
          title={words.removeDocumentTitle}
          text={words.removeDocumentText}
          yes={words.removeDraft}
          danger
          action={action}
          onClose={() => setAsking(null)}
          onYes={() => void action.run(() => api.removeDocument(id)).then(done)}
        />
      )}
      {asking === "scope" && <ScopeDialog document={document} onClose={() => setAsking(null)} onDone={() => done(true)} />}
    </>
  );
}

function ScopeDialog({ document, onClose, onDone }: { readonly document: Document; readonly onClose: () => void; readonly onDone: () => void }): JSX.Element {
  const words = useAdminWords();
  const action = useAction();
  const [input, setInput] = useState(() => scopeInput(document.scope));
  return (
    <Ask
      title={words.scopeEdit}
      yes={words.saveDraft}
      action={action}
      onClose={onClose}
      onYes={() => {
        if (!scopeFault(input)) void action.run(() => api.setScope(document.id, scopeOf(input))).then((ok) => ok && onDone());
      }}
    >
      <ScopeFields input={input} onChange={setInput} />
    </Ask>
  );
}

/** The text with its passages, and the passages by name. Choosing one in either marks it in both. */
function Reader({ document }: { readonly document: Document }): JSX.Element {
  const words = useAdminWords();
  const [chosen, setChosen] = useState<number | null>(null);
  const parts = useMemo(() => pieces(document.text, document.spans), [document]);
  const text = useRef<HTMLDivElement>(null);
  const total = document.spans.length;
  const fromText = useRef(false);
  useEffect(() => {
    if (chosen === null || fromText.current) {
      fromText.current = false;
      return;
    }
    text.current?.querySelector(`[data-passage="${chosen}"]`)?.scrollIntoView({ block: "center" });
  }, [chosen]);
  const choose = (passage: number | null): void => {
    fromText.current = true;
    setChosen(passage);
  };
  return (
    <div class="reader">
      <section class="reader-side" aria-label={words.documentPassages}>
        <h2>
          {words.documentPassages} <span class="muted">{total}</span>
        </h2>
        <p class="small muted">{words.documentHint}</p>
        <ol class="passages" data-testid="passages">
          {document.spans.map((span, n) => (
            <li key={span.id || n}>
              <button type="button" class="passage-link" aria-pressed={chosen === n} onClick={() => setChosen(n)}>
                <span class="passage-number">{n + 1}</span>
                <span class="passage-title">{span.title || document.title}</span>
                {span.page !== null && <span class="small muted">{words.page(span.page)}</span>}
              </button>
            </li>
          ))}
        </ol>
      </section>
      <section class="reader-main" aria-label={words.documentText}>
        {chosen !== null && (
          <div class="reader-bar" role="status">
            <span>{words.passageOf(chosen + 1, total)}</span>
            <button type="button" class="button button-small" disabled={chosen === 0} onClick={() => setChosen(chosen - 1)}>
              {words.previous}
            </button>
            <button type="button" class="button button-small" disabled={chosen >= total - 1} onClick={() => setChosen(chosen + 1)}>
              {words.next}
            </button>
          </div>
        )}
        <div class="document-text" ref={text} data-testid="text">
          {parts.map((part, n) => {
            const { passage } = part;
            if (passage === null) return <span key={n}>{part.text}</span>;
            const page = document.spans[passage]?.page ?? null;
            const turned = page !== null && page !== (document.spans[passage - 1]?.page ?? null);
            return (
              <span key={n}>
                {turned && (
                  <span class="page-mark" data-testid="page-mark">
                    {words.page(page)}
                  </span>
                )}
                <span
                  class={`passage ${chosen === passage ? "passage-chosen" : ""}`}
                  data-passage={passage}
                  onClick={() => {
                    // A click that ends a selection of words is no choice of a passage.
                    if (getSelection()?.isCollapsed !== false) choose(passage);
                  }}
                >
                  {part.text}
                </span>
              </span>
            );
          })}
        </div>
      </section>
    </div>
  );
}
