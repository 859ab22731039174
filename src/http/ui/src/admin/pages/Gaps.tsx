import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { preferences } from "../../preferences";
import { useStore } from "../../store";
import * as api from "../api";
import { AskReason, Done, Link, ListFrame, PageHead } from "../components/parts";
import { when } from "../format";
import { useAction, useListed } from "../hooks";
import type { Gap, User } from "../model";
import { href } from "../router";
import { may } from "../session";
import { useAdminWords } from "../words";

export function Gaps({ user }: { readonly user: User }): JSX.Element {
  const words = useAdminWords();
  const { language } = useStore(preferences);
  const list = useListed("gaps", api.gaps, { state: "open" });
  const [closing, setClosing] = useState<Gap | null>(null);
  const [said, setSaid] = useState("");
  const action = useAction();
  return (
    <>
      <PageHead title={words.gapsTitle} text={words.gapsText} />
      <Done>{said !== "" && <p>{said}</p>}</Done>
      <ListFrame list={list} empty={words.gapsEmpty}>
        {(items) => (
          <ul class="rows" data-testid="gaps">
            {items.map((gap) => (
              <li key={gap.id} class="row" data-testid="gap">
                <div class="row-main">
                  <p class="row-title">{gap.question}</p>
                  <p class="small muted row-facts">
                    <span>{words.gapCount(gap.count)}</span>
                    <span>
                      {words.gapLast} {when(gap.lastAt, language)}
                    </span>
                  </p>
                  {gap.examples.length > 0 && (
                    <details class="small">
                      <summary>{words.gapExamples}</summary>
                      <ul class="bullets">
                        {gap.examples.map((example, n) => (
                          <li key={n}>{example}</li>
                        ))}
                      </ul>
                    </details>
                  )}
                </div>
                {may(user, "draft") && (
                  <div class="row-actions">
                    <Link to={href("faqs/new", { question: gap.question })} class="button button-small">
                      {words.gapWrite}
                    </Link>
                    <button
                      type="button"
                      class="button button-small"
                      data-testid="gap-close"
                      onClick={() => {
                        action.clear();
                        setClosing(gap);
                      }}
                    >
                      {words.gapClose}
                    </button>
                  </div>
                )}
              </li>
            ))}
          </ul>
        )}
      </ListFrame>
      {closing !== null && (
        <AskReason
          title={words.gapCloseTitle}
          label={words.reason}
          yes={words.gapClose}
          action={action}
          onClose={() => setClosing(null)}
          onYes={(reason) =>
            void action.run(() => api.closeGap(closing.id, reason)).then((ok) => {
              if (!ok) return;
              setClosing(null);
              setSaid(words.gapClosed);
              list.reload();
            })
          }
        />
      )}
    </>
  );
}
