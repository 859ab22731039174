import type { JSX } from "preact";
import { useEffect } from "preact/hooks";

import type { Chat, ChatState, Item } from "../chat";
import { useFollow } from "../follow";
import { useWords } from "../words";
import { focusComposer } from "./Composer";
import { Failure } from "./Failure";
import { DownIcon } from "./icons";
import { Reply, waitingText } from "./Reply";
import { Welcome } from "./Welcome";

interface Props {
  readonly chat: Chat;
  readonly state: ChatState;
}

function lastQuestion(items: readonly Item[]): number {
  for (let at = items.length - 1; at >= 0; at -= 1) {
    const item = items[at];
    if (item?.kind === "visitor") return item.key;
  }
  return 0;
}

export function MessageList({ chat, state }: Props): JSX.Element {
  const words = useWords();
  const { items, restoring, restoreFailure } = state;
  const { area, content, following, jump } = useFollow(items.length > 0);
  const newest = items[items.length - 1];

  // Asking something always shows it, wherever the reader was.
  useEffect(jump, [lastQuestion(items), jump]);

  return (
    <main class="main">
      <div class="scroll" ref={area} tabIndex={0} aria-label={words.conversation} role="region">
        <div class="column" ref={content}>
          {restoreFailure !== null && (
            <Failure
              failure={restoreFailure}
              partial={false}
              sentence={words.restoreFailed}
              disabled={restoring}
              onRetry={() => void chat.restore()}
            />
          )}
          {restoring && items.length === 0 && (
            <p class="note" role="status">
              {words.restoring}
            </p>
          )}
          {!restoring && restoreFailure === null && items.length === 0 && (
            <Welcome
              onAsk={(question) => {
                void chat.send(question);
                focusComposer();
              }}
            />
          )}
          <p class="visually-hidden" role="status">
            {newest?.kind === "reply" && newest.phase === "waiting" && waitingText(words, newest)}
          </p>
          <div class="log" role="log" aria-live="polite" aria-relevant="additions text" data-testid="log">
            {items.map((item) => (
              <DrawnItem key={item.key} item={item} chat={chat} busy={state.busy} newest={item === newest} />
            ))}
          </div>
        </div>
      </div>
      {!following && items.length > 0 && (
        <button type="button" class="jump" data-testid="jump" onClick={jump}>
          <DownIcon />
          {words.jumpToNewest}
        </button>
      )}
    </main>
  );
}

interface DrawnItemProps {
  readonly item: Item;
  readonly chat: Chat;
  readonly busy: boolean;
  readonly newest: boolean;
}

function DrawnItem({ item, chat, busy, newest }: DrawnItemProps): JSX.Element {
  const words = useWords();
  switch (item.kind) {
    case "visitor":
      return (
        <article class="question" data-testid="question" aria-label={words.you}>
          <p>{item.text}</p>
        </article>
      );
    case "reply":
      return <Reply chat={chat} reply={item} busy={busy} newest={newest} />;
    case "note":
      return (
        <p class="note" data-testid="note">
          {item.note === "startedAnew" ? words.startedAnew : item.note.text}
        </p>
      );
  }
}
