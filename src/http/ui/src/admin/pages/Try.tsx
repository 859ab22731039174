import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import * as api from "../api";
import { Badge, Failure, Field, Link, PageHead } from "../components/parts";
import { separated } from "../format";
import { useAction, useListed } from "../hooks";
import { SCORES, type ScoreName, type Stage, type Trial } from "../model";
import { href } from "../router";
import { useAdminWords } from "../words";

/** `drafts`: revisions that are asked with, separated by commas. */
export function Try({ drafts }: { readonly drafts: string }): JSX.Element {
  const words = useAdminWords();
  const [question, setQuestion] = useState("");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(() => new Set(drafts.split(",").filter((id) => id !== "")));
  const [audiences, setAudiences] = useState("");
  const [channel, setChannel] = useState("");
  const [trial, setTrial] = useState<Trial | null>(null);
  const list = useListed("revisions open", api.revisions, { state: "draft,review" });
  const action = useAction();
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);
  const ask = (): void => {
    const controller = new AbortController();
    running.current = controller;
    const known = new Set((list.items ?? []).map((one) => one.id));
    const revisions = [...chosen].filter((id) => list.items === null || known.has(id));
    void action.run(async () => {
      setTrial(
        await api.tryQuestion(
          {
            question: question.trim(),
            ...(revisions.length === 0 ? {} : { revisions }),
            ...(separated(audiences).length === 0 ? {} : { audiences: separated(audiences) }),
            ...(channel.trim() === "" ? {} : { channel: channel.trim() }),
          },
          controller.signal,
        ),
      );
    });
  };
  return (
    <>
      <PageHead title={words.tryTitle} text={words.tryText} />
      <form
        class="form card"
        onSubmit={(event) => {
          event.preventDefault();
          if (question.trim() !== "") ask();
        }}
      >
        <Field label={words.tryQuestion} value={question} onInput={setQuestion} testId="try-question" />
        <details open={chosen.size > 0}>
          <summary data-testid="try-drafts">
            {words.tryDrafts} <span class="muted">{chosen.size}</span>
          </summary>
          {list.items !== null && list.items.length === 0 && <p class="small muted">{words.tryNoDrafts}</p>}
          <Failure failure={list.failure} onRetry={list.reload} />
          <ul class="checks">
            {(list.items ?? []).map((one) => (
              <li key={one.id}>
                <label class="check">
                  <input
                    type="checkbox"
                    checked={chosen.has(one.id)}
                    onChange={(event) => {
                      const next = new Set(chosen);
                      if (event.currentTarget.checked) next.add(one.id);
                      else next.delete(one.id);
                      setChosen(next);
                    }}
                  />
                  <span>
                    {one.title || one.name} <span class="small muted">{words.kinds[one.kind]}</span>
                    {" "}
                    {one.removes && <Badge tone="bad">{words.removes}</Badge>}
                  </span>
                </label>
              </li>
            ))}
          </ul>
        </details>
        <details>
          <summary>{words.tryMore}</summary>
          <div class="field-row">
            <Field label={words.tryAudience} value={audiences} onInput={setAudiences} hint={words.audiencesHint} optional />
            <Field label={words.tryChannel} value={channel} onInput={setChannel} optional />
          </div>
        </details>
        <Failure failure={action.failure} />
        <p class="button-row">
          <button type="submit" class="button button-primary" data-testid="try-ask" disabled={action.running || question.trim() === ""}>
            {action.running ? words.tryAsking : words.tryAsk}
          </button>
          {action.running && (
            <button type="button" class="button" onClick={() => running.current?.abort()}>
              {words.cancel}
            </button>
          )}
        </p>
      </form>
      <div role="status" aria-busy={action.running}>
        {trial !== null && <Result trial={trial} />}
      </div>
    </>
  );
}

function Result({ trial }: { readonly trial: Trial }): JSX.Element {
  const words = useAdminWords();
  const percent = trial.confidence === null ? null : Math.round(trial.confidence * 100);
  return (
    <>
      <section class="card" aria-labelledby="try-result" data-testid="trial" data-route={trial.route}>
        <h2 id="try-result">{words.tryResult}</h2>
        <p class="row-facts small">
          <Badge tone={trial.route === "refuse" ? "bad" : trial.route === "clarify" ? "warn" : "good"}>{words.routes[trial.route] ?? trial.route}</Badge>
          {percent !== null && (
            <span>
              {words.tryConfidence} {percent}%
            </span>
          )}
          {trial.totalMs !== null && <span>{words.tryTook(trial.totalMs)}</span>}
          {trial.version !== null && <span>{words.version(trial.version)}</span>}
        </p>
        <p class="answer" data-testid="trial-answer">
          {trial.answer || words.tryNoAnswer}
        </p>
        {trial.citations.length > 0 && (
          <>
            <h3>{words.tryCitations}</h3>
            <ol class="citations">
              {trial.citations.map((one) => (
                <li key={one.n} value={one.n}>
                  <p class="row-title">{one.title}</p>
                  <blockquote>{one.quote}</blockquote>
                </li>
              ))}
            </ol>
          </>
        )}
      </section>
      <section class="card" aria-labelledby="try-stages">
        <h2 id="try-stages">{words.tryStages}</h2>
        {trial.stages.length === 0 ? <p class="muted">{words.tryNothing}</p> : <Stages stages={trial.stages} />}
      </section>
    </>
  );
}

/** Scores of one stage are compared with each other: its best has a whole bar, its worst (or 0) none. */
function Stages({ stages }: { readonly stages: readonly Stage[] }): JSX.Element {
  const words = useAdminWords();
  const columns = SCORES.filter((name) => stages.some((stage) => stage.scores[name] !== undefined));
  const range = new Map<ScoreName, readonly [number, number]>(
    columns.map((name) => {
      const values = stages.map((stage) => stage.scores[name]).filter((value): value is number => value !== undefined);
      return [name, [Math.min(0, ...values), Math.max(0, ...values)]];
    }),
  );
  return (
    <div class="table-scroll" tabIndex={0} role="region" aria-labelledby="try-stages">
      <table class="table table-scores" data-testid="stages">
        <thead>
          <tr>
            <th scope="col">{words.colTitle}</th>
            {columns.map((name) => (
              <th key={name} scope="col" class="numeric">
                {words.scores[name]}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {stages.map((stage, n) => (
            <tr key={n}>
              <th scope="row">
                <span class="row-facts small">
                  <Badge>{stage.kind === "faq" ? words.kinds.faq : words.kinds.document}</Badge>
                  {stage.kind === "faq" && stage.id !== "" ? <Link to={href(`faqs/${stage.id}`)}>{stage.title}</Link> : <span>{stage.title}</span>}
                </span>
                <span class="small clamp stage-text">{stage.text}</span>
              </th>
              {columns.map((name) => {
                const value = stage.scores[name];
                const [low, high] = range.get(name) ?? [0, 1];
                return (
                  <td key={name} class="numeric">
                    {value === undefined ? (
                      "—"
                    ) : (
                      <>
                        {value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2)}
                        <meter class="score" min={low} max={high === low ? low + 1 : high} value={value} aria-hidden="true" />
                      </>
                    )}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
