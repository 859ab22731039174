import type { JSX } from "preact";
import { useState } from "preact/hooks";

import type { ApiError } from "../../api";
import type { PublishRequest } from "../api";
import { useAction } from "../hooks";
import type { GoldenOutcome, GoldenReport, Published, User } from "../model";
import { goldenReport } from "../read";
import { may } from "../session";
import { useAdminWords, type AdminWords } from "../words";
import { Ask, Field } from "./parts";

function told(outcome: GoldenOutcome, words: AdminWords): string {
  const route = words.routes[outcome.route] ?? outcome.route;
  return [route, outcome.answer].filter((part) => part !== "").join(" · ") || words.never;
}

/** How the golden questions fared; those that got worse one by one. */
export function Golden({ report }: { readonly report: GoldenReport }): JSX.Element | null {
  const words = useAdminWords();
  if (report.asked === 0) return null;
  return (
    <div class="golden" data-testid="golden">
      <p>{words.goldenResult(report.asked, report.rightBefore, report.rightAfter)}</p>
      {report.worse.length > 0 && (
        <>
          <p class="golden-title">{words.goldenWorse(report.worse.length)}</p>
          <ul>
            {report.worse.map((one) => (
              <li key={one.question}>
                <p class="golden-question">{one.question}</p>
                <dl class="pairs small">
                  <dt>{words.before}</dt>
                  <dd>{told(one.before, words)}</dd>
                  <dt>{words.after}</dt>
                  <dd>{told(one.after, words)}</dd>
                </dl>
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

function gate(failure: ApiError | null): GoldenReport | null {
  return failure?.code === "golden_worse" ? goldenReport(failure.facts) ?? goldenReport(failure.facts?.["golden"]) : null;
}

interface Props {
  readonly title: string;
  readonly text: string;
  readonly yes: string;
  readonly force: string;
  readonly user: User;
  readonly work: (how: PublishRequest) => Promise<Published>;
  readonly onDone: (published: Published) => void;
  readonly onClose: () => void;
}

/** Publishing and rolling back: a note, the golden questions' verdict, and for admins a way past it. */
export function PublishDialog({ title, text, yes, force, user, work, onDone, onClose }: Props): JSX.Element {
  const words = useAdminWords();
  const action = useAction();
  const [note, setNote] = useState("");
  const [forced, setForced] = useState(false);
  const report = gate(action.failure);
  const start = (): void => {
    let published: Published | null = null;
    const how = { note: note.trim(), ...(forced ? { force: true } : {}) };
    void action
      .run(async () => {
        published = await work(how);
      })
      .then(() => published !== null && onDone(published));
  };
  return (
    <Ask title={title} text={text} yes={report !== null && forced ? force : yes} danger={report !== null && forced} action={action} onYes={start} onClose={onClose}>
      <Field label={words.publishNote} value={note} onInput={setNote} hint={words.publishNoteHint} optional autofocus testId="note" />
      {action.running && (
        <p class="small muted" role="status">
          {words.publishing}
        </p>
      )}
      {report !== null && <Golden report={report} />}
      {report !== null && may(user, "force") && (
        <label class="check">
          <input type="checkbox" checked={forced} data-testid="force" onChange={(event) => setForced(event.currentTarget.checked)} />
          <span>
            {force}
            <span class="small muted"> {words.forceHint}</span>
          </span>
        </label>
      )}
    </Ask>
  );
}
