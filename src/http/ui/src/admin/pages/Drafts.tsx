import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { preferences } from "../../preferences";
import { useStore } from "../../store";
import * as api from "../api";
import { Diff } from "../components/Diff";
import { Ask, AskReason, Badge, Done, Failure, Link, ListFrame, Loading, PageHead } from "../components/parts";
import { Golden, PublishDialog } from "../components/Publish";
import { scopeInWords, when } from "../format";
import { useAction, useListed, useLoaded } from "../hooks";
import type { Content, Published, Revision, RevisionState, RevisionSummary, User } from "../model";
import { href } from "../router";
import { may } from "../session";
import { useAdminWords, type AdminWords } from "../words";

const TONES: Readonly<Partial<Record<RevisionState, "warn" | "good" | "bad" | "brand">>> = {
  draft: "warn",
  review: "brand",
  published: "good",
  rejected: "bad",
};

const FILTERS = ["draft,review", "draft", "review", "rejected"] as const;

function name(one: RevisionSummary): string {
  return one.title || one.name;
}

function isOpen(one: RevisionSummary): boolean {
  return one.state === "draft" || one.state === "review";
}

export function Drafts({ user }: { readonly user: User }): JSX.Element {
  const words = useAdminWords();
  const { language } = useStore(preferences);
  const [filter, setFilter] = useState<string>(FILTERS[0]);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [publishing, setPublishing] = useState(false);
  const [published, setPublished] = useState<Published | null>(null);
  const [said, setSaid] = useState("");
  const list = useListed(`revisions ${filter}`, api.revisions, { state: filter });
  const open = (list.items ?? []).filter(isOpen);
  const selected = open.filter((one) => chosen.has(one.id)).map((one) => one.id);
  const toggle = (id: string, on: boolean): void => {
    const next = new Set(chosen);
    if (on) next.add(id);
    else next.delete(id);
    setChosen(next);
  };
  const changed = (what: string): void => {
    setPublished(null);
    setSaid(what);
    list.reload();
  };
  const filterName = (value: string): string => (value === FILTERS[0] ? words.filterAll : words.states[value as RevisionState]);
  return (
    <>
      <PageHead title={words.draftsTitle} text={words.draftsText} />
      <Done>
        {published !== null ? (
          <>
            <p>{words.publishedNow(published.version)}</p>
            {published.golden !== null && <Golden report={published.golden} />}
          </>
        ) : (
          said !== "" && <p>{said}</p>
        )}
      </Done>
      <div class="toolbar">
        <label class="inline">
          <span class="small">{words.filterState}</span>
          <select value={filter} data-testid="filter" onChange={(event) => setFilter(event.currentTarget.value)}>
            {FILTERS.map((value) => (
              <option key={value} value={value}>
                {filterName(value)}
              </option>
            ))}
          </select>
        </label>
        {open.length > 0 && (
          <>
            <label class="check">
              <input
                type="checkbox"
                data-testid="select-all"
                checked={selected.length === open.length}
                onChange={(event) => setChosen(event.currentTarget.checked ? new Set(open.map((one) => one.id)) : new Set())}
              />
              <span>{words.selectAll}</span>
            </label>
            <span class="small muted" role="status">
              {words.selected(selected.length)}
            </span>
            <span class="toolbar-end button-row">
              {selected.length > 0 && (
                <Link to={href("try", { drafts: selected.join(",") })} class="button" testId="try-selected">
                  {words.trySelected}
                </Link>
              )}
              {may(user, "decide") && (
                <button type="button" class="button button-primary" data-testid="publish" disabled={selected.length === 0} onClick={() => setPublishing(true)}>
                  {words.publishSelected(selected.length)}
                </button>
              )}
            </span>
          </>
        )}
      </div>
      <ListFrame list={list} empty={words.draftsEmpty}>
        {(items) => (
          <ul class="rows" data-testid="drafts">
            {items.map((one) => (
              <li key={one.id} class="row" data-testid="draft">
                {isOpen(one) && (
                  <input type="checkbox" class="row-check" aria-label={words.select(name(one))} data-testid="select" checked={chosen.has(one.id)} onChange={(event) => toggle(one.id, event.currentTarget.checked)} />
                )}
                <div class="row-main">
                  <p class="row-title">
                    <Link to={href(`drafts/${one.id}`)}>{name(one)}</Link>
                  </p>
                  <p class="small muted row-facts">
                    <Badge tone={TONES[one.state]}>{words.states[one.state]}</Badge>
                    {one.removes && <Badge tone="bad">{words.removes}</Badge>}
                    <span>{words.kinds[one.kind]}</span>
                    <span class="mono break">{one.name}</span>
                    {one.author !== "" && <span>{words.by(one.author)}</span>}
                    <span>{when(one.createdAt, language)}</span>
                  </p>
                  {one.note !== "" && <p class="small">{one.note}</p>}
                </div>
                <RevisionActions one={one} user={user} onChanged={changed} />
              </li>
            ))}
          </ul>
        )}
      </ListFrame>
      {publishing && (
        <PublishDialog
          title={words.publishTitle(selected.length)}
          text={words.publishText}
          yes={words.publish}
          force={words.force}
          user={user}
          work={(how) => api.publish(selected, how)}
          onClose={() => setPublishing(false)}
          onDone={(result) => {
            setPublishing(false);
            setChosen(new Set());
            setPublished(result);
            list.reload();
          }}
        />
      )}
    </>
  );
}

/** Submit, reject, discard. */
function RevisionActions({ one, user, onChanged }: { readonly one: RevisionSummary; readonly user: User; readonly onChanged: (what: string) => void }): JSX.Element | null {
  const words = useAdminWords();
  const action = useAction();
  const [asking, setAsking] = useState<"reject" | "discard" | null>(null);
  if (!may(user, "draft") || one.state === "published" || one.state === "retired") return null;
  const perform = async (work: () => Promise<unknown>, what: string): Promise<void> => {
    if (!(await action.run(work))) return;
    setAsking(null);
    onChanged(what);
  };
  const ask = (what: "reject" | "discard"): void => {
    action.clear();
    setAsking(what);
  };
  return (
    <div class="row-actions">
      {one.state === "draft" && (
        <button type="button" class="button button-small" data-testid="submit" disabled={action.running} onClick={() => void perform(() => api.submitRevision(one.id), words.submitted)}>
          {words.submit}
        </button>
      )}
      {one.state === "review" && may(user, "decide") && (
        <button type="button" class="button button-small" data-testid="reject" disabled={action.running} onClick={() => ask("reject")}>
          {words.reject}
        </button>
      )}
      <button type="button" class="button button-small button-danger-quiet" data-testid="discard" disabled={action.running} onClick={() => ask("discard")}>
        {words.discard}
      </button>
      {asking === null && <Failure failure={action.failure} />}
      {asking === "discard" && (
        <Ask
          title={words.discardTitle}
          text={words.discardText}
          yes={words.discard}
          danger
          action={action}
          onClose={() => setAsking(null)}
          onYes={() => void perform(() => api.discardRevision(one.id), words.discarded)}
        />
      )}
      {asking === "reject" && (
        <AskReason
          title={words.rejectTitle}
          label={words.rejectNote}
          hint={words.rejectHint}
          yes={words.reject}
          action={action}
          onClose={() => setAsking(null)}
          onYes={(note) => void perform(() => api.rejectRevision(one.id, note), words.rejectedNow)}
        />
      )}
    </div>
  );
}

interface Compared {
  readonly label: string;
  readonly old: string;
  readonly next: string;
}

function fieldsOf(one: Revision, words: AdminWords, language: string): readonly Compared[] {
  const [next, old] = [one.content, one.published];
  const of = (content: Content | null, read: (content: Content) => string): string => (content === null ? "" : read(content));
  const both = (label: string, read: (content: Content) => string): Compared => ({ label, old: of(old, read), next: of(next, read) });
  const scope = both(words.scopeTitle, (content) => scopeInWords(content.scope, words, language));
  const rows =
    one.kind === "faq"
      ? [
          both(words.question, (content) => content.question || content.title),
          both(words.variants, (content) => content.variants.join("\n")),
          both(words.answer, (content) => content.answer || content.text),
          both(words.category, (content) => content.category),
          scope,
        ]
      : [both(words.colTitle, (content) => content.title), scope, both(words.documentText, (content) => content.text)];
  return rows.filter((row) => row.old !== "" || row.next !== "");
}

export function Compare({ id, user }: { readonly id: string; readonly user: User }): JSX.Element {
  const words = useAdminWords();
  const { language } = useStore(preferences);
  const loaded = useLoaded(`revision ${id}`, () => api.revision(id));
  const [said, setSaid] = useState("");
  const one = loaded.value;
  if (one === null) {
    return (
      <>
        <PageHead title={words.compareTitle} />
        <Done>{said !== "" && <p>{said}</p>}</Done>
        {said === "" && <Failure failure={loaded.failure} onRetry={loaded.reload} />}
        {loaded.loading && <Loading />}
        {said !== "" && (
          <p>
            <Link to={href("drafts")} class="button">
              {words.back}
            </Link>
          </p>
        )}
      </>
    );
  }
  const revision = one.kind === "document" && !one.removes ? href(`documents/${one.itemId}`, { revision: one.id }) : null;
  return (
    <>
      <PageHead
        title={name(one)}
        text={
          <span class="row-facts">
            <Badge tone={TONES[one.state]}>{words.states[one.state]}</Badge>
            {one.removes && <Badge tone="bad">{words.removes}</Badge>}
            <span>{words.kinds[one.kind]}</span>
            <span class="mono break">{one.name}</span>
            {one.author !== "" && <span>{words.by(one.author)}</span>}
            <span>{when(one.createdAt, language)}</span>
          </span>
        }
      >
        {revision !== null && (
          <Link to={revision} class="button" testId="open-revision">
            {words.documentText}
          </Link>
        )}
        {isOpen(one) && (
          <Link to={href("try", { drafts: one.id })} class="button">
            {words.tryTitle}
          </Link>
        )}
      </PageHead>
      {one.note !== "" && <p class="notice">{one.note}</p>}
      <Done>{said !== "" && <p>{said}</p>}</Done>
      <RevisionActions
        one={one}
        user={user}
        onChanged={(what) => {
          setSaid(what);
          loaded.reload();
        }}
      />
      <p class="muted small">{one.published === null && !one.removes ? words.compareNew : one.removes ? words.compareRemoves : words.compareLegend}</p>
      <dl class="compare">
        {fieldsOf(one, words, language).map((row) => (
          <div key={row.label} class="compare-field">
            <dt>
              {row.label}
              {row.old === row.next && <span class="muted small"> {words.compareSame}</span>}
            </dt>
            <dd>{one.published === null ? <div class="diff">{row.next}</div> : <Diff old={row.old} next={row.next} />}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}
