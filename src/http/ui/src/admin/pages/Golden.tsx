import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../api";
import { Ask, Badge, Done, Failure, Field, ListFrame, PageHead } from "../components/parts";
import { lines } from "../format";
import { useAction, useListed } from "../hooks";
import type { Expectation, Golden, User } from "../model";
import { may } from "../session";
import { useAdminWords, type AdminWords } from "../words";

function inWords(expect: Expectation, words: AdminWords): readonly string[] {
  const parts: string[] = [];
  if (expect.refuse === true) parts.push(words.expectRefuse);
  if (expect.source !== undefined) parts.push(`${words.expectSource}: ${expect.source}`);
  if (expect.faq_key !== undefined) parts.push(`${words.expectFaq}: ${expect.faq_key}`);
  for (const text of expect.contains ?? []) parts.push(`${words.expectContains}: ${text}`);
  return parts;
}

export function GoldenPage({ user }: { readonly user: User }): JSX.Element {
  const words = useAdminWords();
  const list = useListed("golden", api.golden);
  const [removing, setRemoving] = useState<Golden | null>(null);
  const [said, setSaid] = useState("");
  const action = useAction();
  const done = (what: string): void => {
    setSaid(what);
    list.reload();
  };
  return (
    <>
      <PageHead title={words.goldenTitle} text={words.goldenText} />
      <Done>{said !== "" && <p>{said}</p>}</Done>
      {may(user, "decide") && <Add onDone={() => done(words.goldenAdded)} />}
      <ListFrame list={list} empty={words.goldenEmpty}>
        {(items) => (
          <ul class="rows" data-testid="golden-list">
            {items.map((one) => (
              <li key={one.id} class="row">
                <div class="row-main">
                  <p class="row-title">{one.question}</p>
                  <p class="row-facts small">
                    {inWords(one.expect, words).map((part) => (
                      <Badge key={part}>{part}</Badge>
                    ))}
                  </p>
                </div>
                {may(user, "decide") && (
                  <div class="row-actions">
                    <button
                      type="button"
                      class="button button-small button-danger-quiet"
                      data-testid="remove"
                      onClick={() => {
                        action.clear();
                        setRemoving(one);
                      }}
                    >
                      {words.remove}
                    </button>
                  </div>
                )}
              </li>
            ))}
          </ul>
        )}
      </ListFrame>
      {removing !== null && (
        <Ask
          title={words.goldenRemoveTitle}
          text={
            <>
              <strong>{removing.question}</strong>
              <br />
              {words.goldenRemoveText}
            </>
          }
          yes={words.remove}
          danger
          action={action}
          onClose={() => setRemoving(null)}
          onYes={() =>
            void action.run(() => api.removeGolden(removing.id)).then((ok) => {
              if (!ok) return;
              setRemoving(null);
              done(words.goldenRemoved);
            })
          }
        />
      )}
    </>
  );
}

function Add({ onDone }: { readonly onDone: () => void }): JSX.Element {
  const words = useAdminWords();
  const action = useAction();
  const [tried, setTried] = useState(false);
  const [question, setQuestion] = useState("");
  const [source, setSource] = useState("");
  const [key, setKey] = useState("");
  const [contains, setContains] = useState("");
  const [refuse, setRefuse] = useState(false);
  const expects = refuse || source.trim() !== "" || key.trim() !== "" || lines(contains).length > 0;
  const save = async (): Promise<void> => {
    setTried(true);
    if (question.trim() === "" || !expects) return;
    const expect: Expectation = refuse
      ? { refuse: true }
      : {
          ...(source.trim() === "" ? {} : { source: source.trim() }),
          ...(key.trim() === "" ? {} : { faq_key: key.trim() }),
          ...(lines(contains).length === 0 ? {} : { contains: lines(contains) }),
        };
    if (!(await action.run(() => api.addGolden(question.trim(), expect)))) return;
    setTried(false);
    setQuestion("");
    setSource("");
    setKey("");
    setContains("");
    setRefuse(false);
    onDone();
  };
  return (
    <details class="card">
      <summary data-testid="golden-new">{words.goldenAdd}</summary>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <Field label={words.goldenQuestion} value={question} onInput={setQuestion} error={tried && question.trim() === "" ? words.fieldNeeded : null} testId="golden-question" />
        <fieldset class="fieldset">
          <legend>{words.goldenExpect}</legend>
          <label class="check">
            <input type="checkbox" checked={refuse} onChange={(event) => setRefuse(event.currentTarget.checked)} />
            <span>{words.expectRefuse}</span>
          </label>
          {!refuse && (
            <>
              <div class="field-row">
                <Field label={words.expectSource} value={source} onInput={setSource} optional testId="golden-source" />
                <Field label={words.expectFaq} value={key} onInput={setKey} optional />
              </div>
              <Field label={words.expectContains} value={contains} onInput={setContains} rows={2} hint={words.expectContainsHint} optional testId="golden-contains" />
            </>
          )}
          {tried && !expects && <p class="small field-error">{words.expectNeeded}</p>}
        </fieldset>
        <Failure failure={action.failure} />
        <p class="button-row">
          <button type="submit" class="button button-primary" data-testid="golden-save" disabled={action.running}>
            {action.running ? words.saving : words.save}
          </button>
        </p>
      </form>
    </details>
  );
}
