import type { JSX } from "preact";
import { useId } from "preact/hooks";

import type { Chat, ReplyItem } from "../chat";
import type { Words } from "../i18n";
import { useWords } from "../words";
import { Answer } from "./Answer";
import { Citations } from "./Citations";
import { focusComposer } from "./Composer";
import { Failure } from "./Failure";
import { ClockIcon, Logo, PersonIcon } from "./icons";
import { Rating } from "./Rating";

interface Props {
  readonly chat: Chat;
  readonly reply: ReplyItem;
  readonly busy: boolean;
  readonly newest: boolean;
}

export function Reply({ chat, reply, busy, newest }: Props): JSX.Element {
  const words = useWords();
  const { phase, text, citations, failure } = reply;
  const running = phase === "waiting" || phase === "streaming";
  const human = reply.author === "agent";
  return (
    <article
      class="reply"
      data-testid="reply"
      data-phase={phase}
      data-route={reply.route ?? undefined}
      aria-busy={running}
      aria-label={human ? words.agent : words.assistant}
    >
      <div class={human ? "avatar avatar-human" : "avatar"}>{human ? <PersonIcon /> : <Logo />}</div>
      <div class="reply-body">
        {human && <p class="reply-author">{words.agent}</p>}
        <div class="card">
          {text !== "" && (
            <Answer
              text={text}
              streaming={phase === "streaming"}
              citations={citations}
              onOpen={(citation) => chat.openCitation(citation)}
            />
          )}
          {phase === "waiting" && <Waiting words={words} reply={reply} />}
          {reply.handoff !== null && text === "" && phase !== "waiting" && <p class="text">{handoffText(words, reply)}</p>}
          {phase === "stopped" && (
            <p class="stopped" data-testid="stopped">
              {text === "" ? words.stoppedEmpty : words.stopped}
            </p>
          )}
          {citations.length > 0 && (
            <Citations citations={citations} onOpen={(citation) => chat.openCitation(citation)} />
          )}
          {failure !== null && (
            <Failure
              failure={failure}
              partial={text !== ""}
              disabled={busy}
              onRetry={() => {
                void chat.retry(reply.key);
                focusComposer();
              }}
              onEdit={() => {
                chat.edit(reply.key);
                focusComposer();
              }}
            />
          )}
        </div>
        {!running && !human && phase !== "failed" && (
          <footer class="reply-footer">
            {reply.route !== null && (
              <span class={`badge badge-${reply.route}`} data-testid="route" title={words.routeHints[reply.route]}>
                {words.routes[reply.route]}
              </span>
            )}
            <TimingsTip reply={reply} />
            {phase === "done" && reply.messageId !== "" && <Rating chat={chat} reply={reply} />}
          </footer>
        )}
        {newest && phase === "done" && reply.related.length > 0 && (
          <Related chat={chat} reply={reply} disabled={busy} />
        )}
      </div>
    </article>
  );
}

/** What one may ask next, below the newest reply. */
function Related({ chat, reply, disabled }: { chat: Chat; reply: ReplyItem; disabled: boolean }): JSX.Element {
  const words = useWords();
  const id = useId();
  const choose = reply.related.every((related) => related.kind === "choice");
  return (
    <div class="related" data-testid="related">
      <p class="related-label" id={id}>
        {choose ? words.chooseLabel : words.relatedLabel}
      </p>
      <ul class="related-list" aria-labelledby={id}>
        {reply.related.map(({ question }) => (
          <li key={question}>
            <button
              type="button"
              class="related-question"
              lang={/\p{Script=Han}/u.test(question) ? "zh-CN" : "en"}
              disabled={disabled}
              onClick={() => {
                void chat.send(question);
                focusComposer();
              }}
            >
              {question}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

function handoffText(words: Words, reply: ReplyItem): string {
  const position = reply.handoff?.position ?? null;
  return position === null || position < 1 ? words.handoffNote : words.handoffQueue(position);
}

/** What is going on before the first word, also read out to those who do not see it. */
export function waitingText(words: Words, reply: ReplyItem): string {
  if (reply.handoff !== null) return handoffText(words, reply);
  if (reply.queue !== null && reply.queue > 0) return words.queued(reply.queue);
  return reply.route === null ? words.searching : words.writing;
}

function Waiting({ words, reply }: { readonly words: Words; readonly reply: ReplyItem }): JSX.Element {
  return (
    <p class="waiting" data-testid="waiting">
      <span class="dots" aria-hidden="true">
        <span />
        <span />
        <span />
      </span>
      {waitingText(words, reply)}
    </p>
  );
}

function TimingsTip({ reply }: { readonly reply: ReplyItem }): JSX.Element | null {
  const words = useWords();
  const id = useId();
  const { timings } = reply;
  if (timings === null || timings.total === null) return null;
  const rows: (readonly [string, number | null])[] = [
    [words.timingUnderstand, timings.understand],
    [words.timingRetrieve, timings.retrieve],
    [words.timingFirstToken, timings.firstToken],
    [words.timingTotal, timings.total],
  ];
  return (
    <span class="tip">
      <button type="button" class="tip-button" data-testid="timings" aria-describedby={id}>
        <ClockIcon />
        <span class="visually-hidden">{words.timings} </span>
        {words.milliseconds(timings.total)}
      </button>
      <span class="tip-panel" role="tooltip" id={id}>
        {rows.map(
          ([label, value]) =>
            value !== null && (
              <span class="tip-row" key={label}>
                <span>{label}</span> <span>{words.milliseconds(value)}</span>
              </span>
            ),
        )}
        {reply.model !== "" && (
          <span class="tip-row">
            <span>{words.model}</span> <span>{reply.model}</span>
          </span>
        )}
        {reply.kbVersion !== "" && (
          <span class="tip-row">
            <span>{words.knowledge}</span> <span>{reply.kbVersion}</span>
          </span>
        )}
      </span>
    </span>
  );
}
