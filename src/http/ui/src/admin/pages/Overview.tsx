import type { JSX } from "preact";

import * as api from "../api";
import { Failure, Link, Loading, PageHead } from "../components/parts";
import { useLoaded } from "../hooks";
import { href } from "../router";
import { useAdminWords } from "../words";

function Figure({ label, value, to, waits }: { readonly label: string; readonly value: number | string; readonly to: string; readonly waits?: boolean }): JSX.Element {
  return (
    <li>
      <Link to={href(to)} class={`figure-card ${waits === true && value !== 0 ? "figure-waits" : ""}`}>
        <span class="figure-value">{value}</span>
        <span class="figure-label">{label}</span>
      </Link>
    </li>
  );
}

export function Overview(): JSX.Element {
  const words = useAdminWords();
  const loaded = useLoaded("overview", api.overview);
  const now = loaded.value;
  return (
    <>
      <PageHead title={words.overviewTitle} text={words.overviewText} />
      <Failure failure={loaded.failure} onRetry={loaded.reload} />
      {now === null && loaded.loading && <Loading />}
      {now !== null && (
        <>
          {now.documents + now.faqs === 0 && <p class="notice">{words.emptyKnowledge}</p>}
          <section>
            <h2>{words.liveNow}</h2>
            <ul class="figures" data-testid="live">
              <Figure label={words.versionWord} value={now.version} to="versions" />
              <Figure label={words.nav.documents} value={now.documents} to="documents" />
              <Figure label={words.passages} value={now.passages} to="documents" />
              <Figure label={words.nav.faqs} value={now.faqs} to="faqs" />
            </ul>
          </section>
          <section>
            <h2>{words.waiting}</h2>
            <ul class="figures" data-testid="waiting">
              <Figure label={words.draftsWord} value={now.drafts} to="drafts" waits />
              <Figure label={words.inReview} value={now.inReview} to="drafts" waits />
              {now.gaps !== null && <Figure label={words.nav.gaps} value={now.gaps} to="gaps" waits />}
              {now.suggestions !== null && <Figure label={words.nav.suggestions} value={now.suggestions} to="suggestions" waits />}
            </ul>
          </section>
          {now.fourEyes && <p class="notice">{words.fourEyesOn}</p>}
          <section>
            <h2>{words.startTitle}</h2>
            <p class="button-row">
              <Link to={href("documents")} class="button">
                {words.upload}
              </Link>
              <Link to={href("faqs/new")} class="button">
                {words.faqNew}
              </Link>
              <Link to={href("try")} class="button">
                {words.tryTitle}
              </Link>
            </p>
          </section>
        </>
      )}
    </>
  );
}
