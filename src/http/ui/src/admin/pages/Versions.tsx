import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { preferences } from "../../preferences";
import { useStore } from "../../store";
import * as api from "../api";
import { Badge, Done, Failure, ListFrame, Loading, PageHead } from "../components/parts";
import { Golden, PublishDialog } from "../components/Publish";
import { when } from "../format";
import { useListed, useLoaded } from "../hooks";
import type { Published, User } from "../model";
import { may } from "../session";
import { useAdminWords } from "../words";

export function Versions({ user }: { readonly user: User }): JSX.Element {
  const words = useAdminWords();
  const { language } = useStore(preferences);
  const [opened, setOpened] = useState<number | null>(null);
  const [target, setTarget] = useState<number | null>(null);
  const [done, setDone] = useState<Published | null>(null);
  const list = useListed("versions", api.versions);
  const newest = list.items?.[0]?.version ?? null;
  return (
    <>
      <PageHead title={words.versionsTitle} text={words.versionsText} />
      <Done>
        {done !== null && (
          <>
            <p>{words.rolledBack(done.version)}</p>
            {done.golden !== null && <Golden report={done.golden} />}
          </>
        )}
      </Done>
      <ListFrame list={list} empty={words.versionsEmpty}>
        {(items) => (
          <ol class="rows" data-testid="versions">
            {items.map((one) => (
              <li key={one.version} class="row row-wrap" data-testid="version" data-version={one.version}>
                <div class="row-main">
                  <p class="row-title">
                    {words.version(one.version)} {one.version === newest && <Badge tone="good">{words.versionCurrent}</Badge>}
                  </p>
                  {one.note !== "" && <p class="row-text">{one.note}</p>}
                  <p class="small muted row-facts">
                    <span>{when(one.createdAt, language)}</span>
                    {one.author !== "" && <span>{one.author}</span>}
                  </p>
                </div>
                <div class="row-actions">
                  <button type="button" class="button button-small" aria-expanded={opened === one.version} onClick={() => setOpened(opened === one.version ? null : one.version)}>
                    {opened === one.version ? words.versionHide : words.versionShow}
                  </button>
                  {may(user, "decide") && one.version !== newest && (
                    <button type="button" class="button button-small" data-testid="rollback" onClick={() => setTarget(one.version)}>
                      {words.rollback}
                    </button>
                  )}
                </div>
                {opened === one.version && <Changes version={one.version} />}
              </li>
            ))}
          </ol>
        )}
      </ListFrame>
      {target !== null && (
        <PublishDialog
          title={words.rollbackTitle(target)}
          text={words.rollbackText}
          yes={words.rollbackYes}
          force={words.forceRollback}
          user={user}
          work={(how) => api.rollback(target, how)}
          onClose={() => setTarget(null)}
          onDone={(result) => {
            setTarget(null);
            setDone(result);
            list.reload();
          }}
        />
      )}
    </>
  );
}

const TONES = { added: "good", changed: "warn", removed: "bad" } as const;

function Changes({ version }: { readonly version: number }): JSX.Element {
  const words = useAdminWords();
  const loaded = useLoaded(`version ${version}`, () => api.versionChanges(version));
  return (
    <div class="row-more">
      <Failure failure={loaded.failure} onRetry={loaded.reload} />
      {loaded.value === null && loaded.loading && <Loading />}
      {loaded.value !== null && loaded.value.length === 0 && <p class="small muted">{words.versionNothing}</p>}
      <ul class="changes">
        {(loaded.value ?? []).map((change, n) => (
          <li key={n}>
            <Badge tone={TONES[change.what]}>{words.changeKinds[change.what]}</Badge> {change.title || change.name || change.itemId}{" "}
            <span class="small muted mono break">{change.name}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
