import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import * as api from "../api";
import { Ask, Done, Failure, Field, Link, Loading, PageHead, useLeaveDialog } from "../components/parts";
import { ScopeFields, scopeFault, scopeInput, scopeOf, type ScopeInput } from "../components/Scope";
import { lines } from "../format";
import { useAction, useLeaveGuard, useLoaded } from "../hooks";
import { EVERYBODY, type Faq, type FaqDraft, type User } from "../model";
import { href } from "../router";
import { may } from "../session";
import { useAdminWords } from "../words";

interface Input {
  readonly key: string;
  readonly question: string;
  readonly variants: string;
  readonly answer: string;
  readonly category: string;
  readonly scope: ScopeInput;
}

function inputOf(faq: Faq | null, question: string): Input {
  return {
    key: faq?.key ?? "",
    question: faq?.question ?? question,
    variants: (faq?.variants ?? []).join("\n"),
    answer: faq?.answer ?? "",
    category: faq?.category ?? "",
    scope: scopeInput(faq?.scope ?? EVERYBODY),
  };
}

interface Props {
  /** `null` for a new one. */
  readonly id: string | null;
  readonly question: string;
  readonly user: User;
}

export function FaqEdit({ id, question, user }: Props): JSX.Element {
  const words = useAdminWords();
  const loaded = useLoaded<Faq | null>(`faq ${id ?? ""}`, () => (id === null ? Promise.resolve(null) : api.faq(id)));
  if (id !== null && loaded.value === null) {
    return (
      <>
        <PageHead title={words.faqEdit} />
        <Failure failure={loaded.failure} onRetry={loaded.reload} />
        {loaded.loading && <Loading />}
      </>
    );
  }
  return <Form faq={loaded.value} question={question} user={user} />;
}

function Form({ faq, question, user }: { readonly faq: Faq | null; readonly question: string; readonly user: User }): JSX.Element {
  const words = useAdminWords();
  const [start, setStart] = useState(() => inputOf(faq, question));
  const [input, setInput] = useState(start);
  const [tried, setTried] = useState(false);
  const [saved, setSaved] = useState(false);
  const [removing, setRemoving] = useState(false);
  const saving = useAction();
  const leave = useLeaveDialog();
  const dirty = JSON.stringify(input) !== JSON.stringify(start);
  useLeaveGuard(dirty, leave.ask);
  useEffect(() => {
    if (dirty) setSaved(false);
  }, [dirty]);
  const change = (part: Partial<Input>): void => setInput({ ...input, ...part });
  const missing = (text: string): string | null => (tried && text.trim() === "" ? words.fieldNeeded : null);
  const mayDraft = may(user, "draft");

  const save = async (): Promise<void> => {
    setTried(true);
    if (input.question.trim() === "" || input.answer.trim() === "" || scopeFault(input.scope)) return;
    const key = input.key.trim();
    const draft: FaqDraft = {
      ...(faq === null && key !== "" ? { key } : {}),
      question: input.question.trim(),
      variants: lines(input.variants),
      answer: input.answer.trim(),
      category: input.category.trim(),
      scope: scopeOf(input.scope),
    };
    if (!(await saving.run(() => api.saveFaq(faq?.id ?? null, draft)))) return;
    const next = faq === null ? inputOf(null, "") : input;
    setStart(next);
    setInput(next);
    setTried(false);
    setSaved(true);
  };

  return (
    <>
      <PageHead title={faq === null ? words.faqNew : words.faqEdit} text={mayDraft ? words.draftsText : words.readOnly}>
        {faq !== null && mayDraft && (
          <button
            type="button"
            class="button button-danger-quiet"
            data-testid="remove"
            onClick={() => {
              saving.clear();
              setRemoving(true);
            }}
          >
            {words.remove}
          </button>
        )}
      </PageHead>
      <Done>
        {saved && (
          <p>
            {words.draftSaved} <Link to={href("drafts")}>{words.toDrafts}</Link>
          </p>
        )}
      </Done>
      <form
        class="form card"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <Field label={words.question} value={input.question} onInput={(text) => change({ question: text })} error={missing(input.question)} testId="question" disabled={!mayDraft} />
        <Field label={words.variants} value={input.variants} onInput={(variants) => change({ variants })} rows={4} hint={words.variantsHint} optional testId="variants" disabled={!mayDraft} />
        <Field label={words.answer} value={input.answer} onInput={(answer) => change({ answer })} rows={7} error={missing(input.answer)} testId="answer" disabled={!mayDraft} />
        <div class="field-row">
          <Field label={words.category} value={input.category} onInput={(category) => change({ category })} optional testId="category" disabled={!mayDraft} />
          <Field label={words.key} value={input.key} onInput={(key) => change({ key })} optional={faq === null} hint={faq === null ? words.keyHint : ""} testId="key" disabled={faq !== null || !mayDraft} />
        </div>
        {mayDraft && <ScopeFields input={input.scope} onChange={(scope) => change({ scope })} />}
        <Failure failure={removing ? null : saving.failure} />
        <p class="button-row">
          {mayDraft && (
            <button type="submit" class="button button-primary" data-testid="save" disabled={saving.running}>
              {saving.running ? words.saving : words.saveDraft}
            </button>
          )}
          <Link to={href("faqs")} class="button">
            {words.back}
          </Link>
        </p>
      </form>
      {removing && faq !== null && (
        <Ask
          title={words.removeFaqTitle}
          text={words.removeFaqText}
          yes={words.removeDraft}
          danger
          action={saving}
          onClose={() => setRemoving(false)}
          onYes={() =>
            void saving.run(() => api.removeFaq(faq.id)).then((ok) => {
              if (!ok) return;
              setRemoving(false);
              setSaved(true);
            })
          }
        />
      )}
      {leave.dialog}
    </>
  );
}
