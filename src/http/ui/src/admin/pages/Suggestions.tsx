import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { Dialog } from "../../components/Dialog";
import { preferences } from "../../preferences";
import { useStore } from "../../store";
import * as api from "../api";
import { AskReason, Badge, Done, Failure, Field, Link, ListFrame, PageHead } from "../components/parts";
import { lines, when } from "../format";
import { useAction, useListed } from "../hooks";
import type { Suggestion, User } from "../model";
import { href } from "../router";
import { may } from "../session";
import { useAdminWords } from "../words";

export function Suggestions({ user }: { readonly user: User }): JSX.Element {
  const words = useAdminWords();
  const { language } = useStore(preferences);
  const list = useListed("suggestions", api.suggestions, { state: "open" });
  const [accepting, setAccepting] = useState<Suggestion | null>(null);
  const [dismissing, setDismissing] = useState<Suggestion | null>(null);
  const [said, setSaid] = useState("");
  const action = useAction();
  const done = (what: string): void => {
    setAccepting(null);
    setDismissing(null);
    setSaid(what);
    list.reload();
  };
  return (
    <>
      <PageHead title={words.suggestionsTitle} text={words.suggestionsText} />
      <Done>
        {said !== "" && (
          <p>
            {said} {said === words.accepted && <Link to={href("drafts")}>{words.toDrafts}</Link>}
          </p>
        )}
      </Done>
      <ListFrame list={list} empty={words.suggestionsEmpty}>
        {(items) => (
          <ul class="rows" data-testid="suggestions">
            {items.map((one) => (
              <li key={one.id} class="row" data-testid="suggestion">
                <div class="row-main">
                  <p class="row-title">{one.question}</p>
                  <p class="row-text pre">{one.answer}</p>
                  <p class="small muted row-facts">
                    {one.origin !== "" && <Badge>{words.origins[one.origin] ?? one.origin}</Badge>}
                    <span>{when(one.createdAt, language)}</span>
                    {one.variants.length > 0 && <span>{words.variantCount(one.variants.length + 1)}</span>}
                  </p>
                  {one.similar.length > 0 && (
                    <div class="small similar">
                      <p class="muted">{words.suggestionSimilar}</p>
                      <ul class="bullets">
                        {one.similar.map((similar, n) => (
                          <li key={n}>
                            {similar.id === "" ? similar.question : <Link to={href(`faqs/${similar.id}`)}>{similar.question}</Link>}{" "}
                            {similar.similarity !== null && <span class="muted">{words.similarity(Math.round(similar.similarity * 100))}</span>}
                          </li>
                        ))}
                      </ul>
                    </div>
                  )}
                </div>
                {may(user, "draft") && (
                  <div class="row-actions">
                    <button type="button" class="button button-small button-primary" data-testid="accept" onClick={() => setAccepting(one)}>
                      {words.accept}
                    </button>
                    <button
                      type="button"
                      class="button button-small"
                      data-testid="dismiss"
                      onClick={() => {
                        action.clear();
                        setDismissing(one);
                      }}
                    >
                      {words.dismiss}
                    </button>
                  </div>
                )}
              </li>
            ))}
          </ul>
        )}
      </ListFrame>
      {accepting !== null && <Accept key={accepting.id} one={accepting} onClose={() => setAccepting(null)} onDone={() => done(words.accepted)} />}
      {dismissing !== null && (
        <AskReason
          title={words.dismissTitle}
          label={words.reason}
          yes={words.dismiss}
          action={action}
          onClose={() => setDismissing(null)}
          onYes={(reason) => void action.run(() => api.dismissSuggestion(dismissing.id, reason)).then((ok) => ok && done(words.dismissed))}
        />
      )}
    </>
  );
}

/** The suggestion as a form: what is accepted is what stands here. */
function Accept({ one, onClose, onDone }: { readonly one: Suggestion; readonly onClose: () => void; readonly onDone: () => void }): JSX.Element {
  const words = useAdminWords();
  const action = useAction();
  const [tried, setTried] = useState(false);
  const [question, setQuestion] = useState(one.question);
  const [variants, setVariants] = useState(one.variants.join("\n"));
  const [answer, setAnswer] = useState(one.answer);
  const [category, setCategory] = useState("");
  const [key, setKey] = useState("");
  const missing = (text: string): string | null => (tried && text.trim() === "" ? words.fieldNeeded : null);
  const save = (): void => {
    setTried(true);
    if (question.trim() === "" || answer.trim() === "") return;
    const body: api.Accepted = {
      question: question.trim(),
      variants: lines(variants),
      answer: answer.trim(),
      category: category.trim(),
      ...(key.trim() === "" ? {} : { key: key.trim() }),
    };
    void action.run(() => api.acceptSuggestion(one.id, body)).then((ok) => ok && onDone());
  };
  return (
    <Dialog class="dialog-wide" label={words.acceptTitle} onClose={onClose} testId="accept-dialog" keepOpen>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          save();
        }}
      >
        <h2 class="dialog-title">{words.acceptTitle}</h2>
        <Field label={words.question} value={question} onInput={setQuestion} error={missing(question)} />
        <Field label={words.variants} value={variants} onInput={setVariants} rows={3} hint={words.variantsHint} optional />
        <Field label={words.answer} value={answer} onInput={setAnswer} rows={6} error={missing(answer)} />
        <div class="field-row">
          <Field label={words.category} value={category} onInput={setCategory} optional />
          <Field label={words.key} value={key} onInput={setKey} hint={words.keyHint} optional />
        </div>
        <Failure failure={action.failure} />
        <div class="dialog-actions">
          <button type="button" class="button" disabled={action.running} onClick={onClose}>
            {words.cancel}
          </button>
          <button type="submit" class="button button-primary" data-testid="accept-yes" disabled={action.running}>
            {action.running ? words.saving : words.accept}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
