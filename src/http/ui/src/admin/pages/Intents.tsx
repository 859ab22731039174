import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import * as api from "../api";
import { Done, Failure, Field, Loading, PageHead } from "../components/parts";
import { examplesOf } from "../format";
import { useAction, useLoaded } from "../hooks";
import type { Intents as State, User } from "../model";
import { may } from "../session";
import { useAdminWords } from "../words";

/** How often is asked how a training goes on. */
const LOOK_EVERY_MS = 1000;

export function Intents({ user }: { readonly user: User }): JSX.Element {
  const words = useAdminWords();
  const loaded = useLoaded("intents", api.intents);
  const training = useAction();
  const [said, setSaid] = useState("");
  const now = loaded.value;
  const running = now?.training ?? null;
  useEffect(() => {
    if (running === null) return undefined;
    const timer = setTimeout(loaded.reload, LOOK_EVERY_MS);
    return () => clearTimeout(timer);
  }, [now]);
  const train = async (): Promise<void> => {
    setSaid("");
    if (!(await training.run(api.trainIntents))) return;
    setSaid(words.intentsTrainBegun);
    loaded.reload();
  };
  return (
    <>
      <PageHead title={words.intentsTitle} text={words.intentsText}>
        {may(user, "decide") && (
          <button type="button" class="button button-primary" data-testid="intents-train" disabled={running !== null || training.running} onClick={() => void train()}>
            {words.intentsTrain}
          </button>
        )}
      </PageHead>
      <Done>{said !== "" && <p>{said}</p>}</Done>
      <Failure failure={training.failure ?? loaded.failure} onRetry={loaded.reload} />
      {now === null && loaded.loading && <Loading />}
      {now !== null && <Standing state={now} />}
      {may(user, "decide") && (
        <Add
          onDone={(changed) => {
            setSaid(words.intentsAdded(changed));
            loaded.reload();
          }}
        />
      )}
      {now !== null && now.items.length === 0 && <p class="muted">{words.intentsEmpty}</p>}
      {now !== null && now.items.length > 0 && (
        <ul class="rows" data-testid="intents">
          {now.items.map((one) => (
            <li key={one.intent} class="row">
              <div class="row-main">
                <p class="row-title">{one.intent}</p>
                <p class="small muted row-facts">
                  <span>{words.intentsGiven(one.given)}</span>
                  {one.corrected > 0 && <span>{words.intentsCorrected(one.corrected)}</span>}
                </p>
              </div>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

/** The head in use, and how a training goes on. */
function Standing({ state }: { readonly state: State }): JSX.Element {
  const words = useAdminWords();
  const { head, training, failed } = state;
  return (
    <div class="card" data-testid="intents-head">
      {head === null ? (
        <p>{words.intentsNoHead}</p>
      ) : (
        <p>
          {words.intentsHead(head.version, head.labels, head.examples)} {words.intentsMeasured(head.accuracy, head.macroF1)}
        </p>
      )}
      {training !== null && (
        <p role="status">
          {words.intentsRunning(training.by)} <progress max={1} value={training.done} />
        </p>
      )}
      {training === null && failed !== "" && (
        <p class="bad" role="alert">
          {words.intentsFailed} {failed}
        </p>
      )}
    </div>
  );
}

function Add({ onDone }: { readonly onDone: (changed: number) => void }): JSX.Element {
  const words = useAdminWords();
  const action = useAction();
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState<number | null>(null);
  const save = async (): Promise<void> => {
    const read = examplesOf(text);
    setWrong(read.wrong);
    if (read.wrong !== null || read.examples.length === 0) return;
    let changed = 0;
    if (!(await action.run(async () => void (changed = await api.addExamples(read.examples))))) return;
    setText("");
    onDone(changed);
  };
  return (
    <details class="card">
      <summary data-testid="intents-new">{words.intentsAdd}</summary>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <Field
          label={words.intentsLines}
          hint={words.intentsLinesHint}
          value={text}
          onInput={setText}
          rows={8}
          error={wrong === null ? null : words.intentsWrongLine(wrong)}
          testId="intents-lines"
        />
        <Failure failure={action.failure} />
        <div class="form-actions">
          <button type="submit" class="button button-primary" data-testid="intents-save" disabled={action.running}>
            {words.intentsSave}
          </button>
        </div>
      </form>
    </details>
  );
}
