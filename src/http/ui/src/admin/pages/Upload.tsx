import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import * as api from "../api";
import { Badge, Failure, Link } from "../components/parts";
import { asApiError } from "../failure";
import { size } from "../format";
import { useAction } from "../hooks";
import type { ImportJob } from "../model";
import { href } from "../router";
import { useAdminWords } from "../words";

const POLL_MS = 700;

interface Chosen {
  readonly key: string;
  readonly file: File;
}

/** Choosing, uploading, and what became of each file. `onDone` when the list of documents may have changed. */
export function Upload({ onDone }: { readonly onDone: () => void }): JSX.Element {
  const words = useAdminWords();
  const [chosen, setChosen] = useState<readonly Chosen[]>([]);
  const [publish, setPublish] = useState(false);
  const [over, setOver] = useState(false);
  const [job, setJob] = useState<string | null>(null);
  const input = useRef<HTMLInputElement>(null);
  const sending = useAction();

  const add = (files: FileList | null | undefined): void => {
    const fresh = [...(files ?? [])].map((file) => ({ key: `${file.name} ${file.size} ${file.lastModified}`, file }));
    const known = new Set(fresh.map((one) => one.key));
    setChosen([...chosen.filter((one) => !known.has(one.key)), ...fresh]);
  };
  const start = (): Promise<boolean> =>
    sending.run(async () => {
      setJob(await api.startImport(chosen.map((one) => one.file), publish));
      setChosen([]);
    });

  if (job !== null) {
    return (
      <section class="card">
        <Progress key={job} id={job} onDone={onDone} onAgain={() => setJob(null)} />
      </section>
    );
  }
  return (
    <section class="card" aria-labelledby="upload-title">
      <h2 id="upload-title">{words.upload}</h2>
      <div
        class={`drop ${over ? "drop-over" : ""}`}
        data-testid="drop"
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          add(event.dataTransfer?.files);
        }}
      >
        <p>
          {words.uploadDrop}{" "}
          <button type="button" class="button" onClick={() => input.current?.click()}>
            {words.uploadChoose}
          </button>
          <input
            ref={input}
            class="visually-hidden"
            type="file"
            multiple
            tabIndex={-1}
            aria-label={words.uploadChoose}
            data-testid="files"
            onChange={(event) => {
              add(event.currentTarget.files);
              event.currentTarget.value = "";
            }}
          />
        </p>
        <p class="small muted">{words.uploadHint}</p>
      </div>
      {chosen.length > 0 && (
        <>
          <ul class="chosen">
            {chosen.map((one) => (
              <li key={one.key}>
                <span class="chosen-name">{one.file.name}</span>
                <span class="small muted">{size(one.file.size)}</span>
                <button
                  type="button"
                  class="linklike small"
                  aria-label={words.uploadRemove(one.file.name)}
                  disabled={sending.running}
                  onClick={() => setChosen(chosen.filter((other) => other.key !== one.key))}
                >
                  {words.remove}
                </button>
              </li>
            ))}
          </ul>
          <fieldset class="choice">
            <legend class="small">{words.uploadAs}</legend>
            <label>
              <input type="radio" name="publish" checked={!publish} data-testid="as-draft" onChange={() => setPublish(false)} /> {words.uploadDraft}
            </label>
            <label>
              <input type="radio" name="publish" checked={publish} data-testid="as-live" onChange={() => setPublish(true)} /> {words.uploadPublish}
            </label>
          </fieldset>
        </>
      )}
      <Failure failure={sending.failure} />
      {chosen.length > 0 && (
        <p class="button-row">
          <button type="button" class="button button-primary" data-testid="upload" disabled={sending.running} onClick={() => void start()}>
            {sending.running ? words.uploadSending : words.uploadStart(chosen.length)}
          </button>
        </p>
      )}
    </section>
  );
}

/** Follows an import until it ends. A look that fails is tried again; the import goes on without being looked at. */
function Progress({ id, onDone, onAgain }: { readonly id: string; readonly onDone: () => void; readonly onAgain: () => void }): JSX.Element {
  const words = useAdminWords();
  const [job, setJob] = useState<ImportJob | null>(null);
  const [failure, setFailure] = useState<ReturnType<typeof asApiError> | null>(null);
  const cancelling = useAction();
  const [round, setRound] = useState(0);
  useEffect(() => {
    let timer = 0;
    let over = false;
    const look = async (): Promise<void> => {
      try {
        const next = await api.importJob(id);
        if (over) return;
        setJob(next);
        setFailure(null);
        if (next.state !== "running") {
          onDone();
          return;
        }
      } catch (error) {
        const problem = asApiError(error);
        if (over) return;
        setFailure(problem);
        if (problem.kind === "http" && problem.status < 500 && problem.status !== 429) return;
      }
      timer = window.setTimeout(() => void look(), POLL_MS);
    };
    void look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [id, round]);
  const running = job === null || job.state === "running";
  return (
    <div data-testid="import" data-state={job?.state ?? "running"}>
      <h2>
        <span role="status">{words.importStates[job?.state ?? "running"]}</span>
      </h2>
      {job !== null && (
        <>
          {job.filesTotal > 0 && (
            <label class="progress">
              <span class="small">{words.importFiles(job.filesDone, job.filesTotal)}</span>
              <progress value={job.filesDone} max={job.filesTotal} />
            </label>
          )}
          {running && job.embedTotal > 0 && (
            <label class="progress">
              <span class="small">{words.importEmbedded(job.embedded, job.embedTotal)}</span>
              <progress value={job.embedded} max={job.embedTotal} />
            </label>
          )}
          {job.error !== "" && <p class="field-error">{job.error}</p>}
          <ul class="outcomes">
            {job.files.map((file) => (
              <li key={file.source} data-testid="outcome">
                <span class="chosen-name">{file.source}</span>
                <Badge tone={file.error !== "" ? "bad" : file.outcome === "pending" || file.outcome === "" ? undefined : "good"}>
                  {words.outcomes[file.outcome] ?? file.outcome}
                </Badge>
                {file.passages !== null && <span class="small muted">{words.importPassages(file.passages)}</span>}
                {file.masked > 0 && <span class="small muted">{words.importMasked(file.masked)}</span>}
                {file.faqs !== null && <span class="small muted">{words.importFaqs(file.faqs)}</span>}
                {file.revisionId !== "" && file.drafts === 1 && (
                  <Link to={href(`drafts/${file.revisionId}`)} class="small">
                    {words.compare}
                  </Link>
                )}
                {file.error !== "" && <p class="small field-error outcome-error">{file.error}</p>}
              </li>
            ))}
          </ul>
        </>
      )}
      <Failure failure={failure ?? cancelling.failure} onRetry={() => setRound(round + 1)} />
      <p class="button-row">
        {running ? (
          <button type="button" class="button" disabled={cancelling.running} onClick={() => void cancelling.run(() => api.cancelImport(id))}>
            {words.importCancel}
          </button>
        ) : (
          <>
            <button type="button" class="button" data-testid="again" onClick={onAgain}>
              {words.importAgain}
            </button>
            <Link to={href("drafts")} class="button">
              {words.toDrafts}
            </Link>
          </>
        )}
      </p>
    </div>
  );
}
