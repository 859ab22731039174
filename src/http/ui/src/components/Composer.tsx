import type { JSX, TargetedKeyboardEvent } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { MAX_MESSAGE_CHARS, countCharacters, type Chat, type ChatState } from "../chat";
import { useWords } from "../words";
import { PersonIcon, SendIcon, StopIcon } from "./icons";

const INPUT_ID = "question";
/** The counter shows when this many characters are left. */
const COUNTER_FROM = 200;
const MAX_HEIGHT_PX = 168;
/** Input methods report this key code while they compose, even in browsers that have ended the composition already. */
const COMPOSING_KEY_CODE = 229;

/** Where a pointer is exact there is no screen keyboard that would jump up. */
export function focusComposer(): void {
  if (matchMedia("(pointer: fine)").matches) document.getElementById(INPUT_ID)?.focus();
}

interface Props {
  readonly chat: Chat;
  readonly state: ChatState;
}

export function Composer({ chat, state }: Props): JSX.Element {
  const words = useWords();
  const input = useRef<HTMLTextAreaElement>(null);
  const { draft, busy, restoring, handoff } = state;
  const left = MAX_MESSAGE_CHARS - countCharacters(draft);
  const canSend = !busy && !restoring && left >= 0 && draft.trim() !== "";

  useEffect(focusComposer, []);

  useEffect(() => {
    const element = input.current;
    if (element === null) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, MAX_HEIGHT_PX)}px`;
  }, [draft]);

  const onKeyDown = (event: TargetedKeyboardEvent<HTMLTextAreaElement>): void => {
    if (event.key !== "Enter" || event.shiftKey || event.altKey) return;
    if (event.isComposing || event.keyCode === COMPOSING_KEY_CODE) return;
    event.preventDefault();
    if (canSend) void chat.send(draft);
  };

  return (
    <footer class="composer">
      <form
        class="composer-box"
        onSubmit={(event) => {
          event.preventDefault();
          if (canSend) void chat.send(draft);
        }}
      >
        <label class="visually-hidden" for={INPUT_ID}>
          {words.inputLabel}
        </label>
        <textarea
          id={INPUT_ID}
          ref={input}
          class="composer-input"
          data-testid="input"
          rows={1}
          value={draft}
          placeholder={words.inputPlaceholder}
          enterkeyhint="send"
          autocomplete="off"
          aria-describedby="composer-count"
          aria-invalid={left < 0}
          onInput={(event) => chat.setDraft(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        <div class="composer-row">
          <button
            type="button"
            class="chip"
            data-testid="handoff"
            disabled={handoff === "working"}
            onClick={() => void chat.handoff()}
          >
            <PersonIcon />
            {handoff === "working" ? words.handoffWorking : words.talkToHuman}
          </button>
          <span class="composer-hint">
            {left > COUNTER_FROM && <span class="key-hint">{words.keyHint}</span>}
            <span
              id="composer-count"
              class={left < 0 ? "counter counter-over" : "counter"}
              data-testid="counter"
              role="status"
            >
              {left <= COUNTER_FROM && words.charactersLeft(left)}
            </span>
          </span>
          {busy ? (
            <button
              key="stop"
              type="button"
              class="send"
              data-testid="stop"
              aria-label={words.stop}
              title={words.stop}
              onClick={(event) => {
                // The second click of a double click on "send", whose place this button has just taken, is no wish to stop.
                if (event.detail <= 1) chat.stop();
              }}
            >
              <StopIcon />
            </button>
          ) : (
            <button
              key="send"
              type="submit"
              class="send"
              data-testid="send"
              aria-label={words.send}
              title={words.send}
              disabled={!canSend}
            >
              <SendIcon />
            </button>
          )}
        </div>
      </form>
      {handoff === "failed" && (
        <p class="composer-error" role="alert">
          {words.errorHandoff}
        </p>
      )}
      <p class="caution">{words.caution}</p>
    </footer>
  );
}
