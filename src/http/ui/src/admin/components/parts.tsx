/** Small parts that the pages are made of. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import type { ApiError } from "../../api";
import { AlertIcon } from "../../components/icons";
import { Dialog } from "../../components/Dialog";
import { details, sentence } from "../failure";
import type { Action, Listed } from "../hooks";
import { go } from "../router";
import { useAdminWords } from "../words";

/** A link within these pages; the browser's own ways of opening one elsewhere still work. */
export function Link({ to, class: name, children, current, testId }: {
  readonly to: string;
  readonly class?: string;
  readonly children: ComponentChildren;
  readonly current?: boolean;
  readonly testId?: string;
}): JSX.Element {
  return (
    <a
      href={to}
      class={name}
      aria-current={current === true ? "page" : undefined}
      data-testid={testId}
      onClick={(event) => {
        if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        void go(to);
      }}
    >
      {children}
    </a>
  );
}

/** The head of a page. The heading takes the focus, so that a screen reader says where one is. */
export function PageHead({ title, text, children }: {
  readonly title: string;
  readonly text?: ComponentChildren;
  readonly children?: ComponentChildren;
}): JSX.Element {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <header class="page-head">
      <div class="page-head-words">
        <h1 ref={heading} tabIndex={-1} data-testid="title">
          {title}
        </h1>
        {text !== undefined && <p class="muted">{text}</p>}
      </div>
      {children !== undefined && <div class="page-actions">{children}</div>}
    </header>
  );
}

export function Failure({ failure, onRetry }: { readonly failure: ApiError | null; readonly onRetry?: () => void }): JSX.Element | null {
  const words = useAdminWords();
  if (failure === null) return null;
  const more = details(words, failure);
  return (
    <div class="notice notice-bad" role="alert" data-testid="failure" data-code={failure.code}>
      <AlertIcon />
      <div class="notice-body">
        <p>{sentence(words, failure)}</p>
        {failure.retryAfter !== null && failure.retryAfter > 0 && <p class="small">{words.retryIn(failure.retryAfter)}</p>}
        {more !== "" && <p class="small muted">{more}</p>}
      </div>
      {onRetry !== undefined && (
        <button type="button" class="button" onClick={onRetry}>
          {words.retry}
        </button>
      )}
    </div>
  );
}

/** What was just done, said aloud. */
export function Done({ children }: { readonly children: ComponentChildren }): JSX.Element {
  return (
    <div role="status" class="done-region">
      {children !== null && children !== undefined && children !== false && (
        <div class="notice notice-good" data-testid="done">
          <div class="notice-body">{children}</div>
        </div>
      )}
    </div>
  );
}

export function Loading(): JSX.Element {
  return (
    <p class="loading muted" role="status">
      {useAdminWords().loading}
    </p>
  );
}

/** A list's states: loading, failed, empty, or its rows with a way to more. */
export function ListFrame<T>({ list, empty, children }: {
  readonly list: Listed<T>;
  readonly empty: ComponentChildren;
  readonly children: (items: readonly T[]) => ComponentChildren;
}): JSX.Element {
  const words = useAdminWords();
  return (
    <>
      <Failure failure={list.failure} onRetry={list.reload} />
      {list.items === null && list.loading && <Loading />}
      {list.items !== null && list.items.length === 0 && <p class="empty muted" data-testid="empty">{empty}</p>}
      {list.items !== null && list.items.length > 0 && children(list.items)}
      {list.hasMore && (
        <div class="more">
          <button type="button" class="button" disabled={list.loading} onClick={list.more}>
            {list.loading ? words.loading : words.more}
          </button>
        </div>
      )}
    </>
  );
}

export function Badge({ tone, children }: { readonly tone?: "good" | "warn" | "bad" | "brand" | undefined; readonly children: ComponentChildren }): JSX.Element {
  return <span class={`badge ${tone === undefined ? "" : `badge-${tone}`}`}>{children}</span>;
}

interface FieldProps {
  readonly label: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly hint?: string;
  readonly optional?: boolean;
  readonly error?: string | null;
  readonly rows?: number;
  readonly type?: "text" | "password" | "datetime-local";
  readonly testId?: string;
  readonly autocomplete?: string;
  readonly disabled?: boolean;
  readonly autofocus?: boolean;
}

/** A labelled field, with its hint and its error told to screen readers. */
export function Field(props: FieldProps): JSX.Element {
  const words = useAdminWords();
  const id = useId();
  const field = useRef<HTMLInputElement & HTMLTextAreaElement>(null);
  useEffect(() => {
    if (props.autofocus === true) field.current?.focus();
  }, []);
  const error = props.error ?? null;
  const described = [props.hint === undefined ? "" : `${id}-hint`, error === null ? "" : `${id}-error`].join(" ").trim();
  const common = {
    id,
    value: props.value,
    disabled: props.disabled,
    "data-testid": props.testId,
    "aria-describedby": described === "" ? undefined : described,
    "aria-invalid": error === null ? undefined : ("true" as const),
    onInput: (event: { readonly currentTarget: { readonly value: string } }) => props.onInput(event.currentTarget.value),
  };
  return (
    <div class="field">
      <label for={id}>
        {props.label}
        {props.optional === true && <span class="muted small"> {words.optional}</span>}
      </label>
      {props.rows === undefined ? (
        // The library types each kind of input apart; these three take the same attributes.
        <input ref={field} type={(props.type ?? "text") as "text"} autocomplete={props.autocomplete ?? "off"} spellcheck={false} {...common} />
      ) : (
        <textarea ref={field} rows={props.rows} {...common} />
      )}
      {props.hint !== undefined && (
        <p id={`${id}-hint`} class="small muted">
          {props.hint}
        </p>
      )}
      {error !== null && (
        <p id={`${id}-error`} class="small field-error">
          {error}
        </p>
      )}
    </div>
  );
}

/** A question whose yes cannot be had by accident. */
export function Ask({ title, text, yes, danger, action, onYes, onClose, children }: {
  readonly title: string;
  readonly text?: ComponentChildren;
  readonly yes: string;
  readonly danger?: boolean;
  readonly action?: Action;
  readonly onYes: () => void;
  readonly onClose: () => void;
  readonly children?: ComponentChildren;
}): JSX.Element {
  const words = useAdminWords();
  const running = action?.running ?? false;
  return (
    <Dialog class="dialog-ask" label={title} onClose={onClose} testId="ask">
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          onYes();
        }}
      >
        <h2 class="dialog-title">{title}</h2>
        {text !== undefined && <p class="dialog-text">{text}</p>}
        {children}
        <Failure failure={action?.failure ?? null} />
        <div class="dialog-actions">
          <button type="button" class="button" disabled={running} onClick={onClose}>
            {words.cancel}
          </button>
          <button type="submit" class={`button ${danger === true ? "button-danger" : "button-primary"}`} data-testid="ask-yes" disabled={running}>
            {running ? words.saving : yes}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** Asks for a reason in a dialog of its own. */
export function AskReason({ title, label, hint, yes, action, onYes, onClose }: {
  readonly title: string;
  readonly label: string;
  readonly hint?: string;
  readonly yes: string;
  readonly action: Action;
  readonly onYes: (reason: string) => void;
  readonly onClose: () => void;
}): JSX.Element {
  const words = useAdminWords();
  const [reason, setReason] = useState("");
  const [tried, setTried] = useState(false);
  return (
    <Ask
      title={title}
      yes={yes}
      action={action}
      onClose={onClose}
      onYes={() => {
        setTried(true);
        if (reason.trim() !== "") onYes(reason.trim());
      }}
    >
      <Field
        label={label}
        value={reason}
        onInput={setReason}
        rows={3}
        autofocus
        testId="reason"
        {...(hint === undefined ? {} : { hint })}
        error={tried && reason.trim() === "" ? words.fieldNeeded : null}
      />
    </Ask>
  );
}

/** The browser's own question in the page's clothes: resolves to the answer. */
export function useLeaveDialog(): { readonly ask: () => Promise<boolean>; readonly dialog: JSX.Element | null } {
  const words = useAdminWords();
  const [answer, setAnswer] = useState<{ readonly give: (yes: boolean) => void } | null>(null);
  const ask = (): Promise<boolean> => new Promise((resolve) => setAnswer({ give: resolve }));
  const finish = (yes: boolean): void => {
    setAnswer(null);
    answer?.give(yes);
  };
  const dialog =
    answer === null ? null : (
      <Ask title={words.leaveTitle} text={words.leaveText} yes={words.leaveYes} danger onYes={() => finish(true)} onClose={() => finish(false)} />
    );
  return { ask, dialog };
}
