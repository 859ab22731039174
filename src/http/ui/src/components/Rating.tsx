import type { JSX } from "preact";
import { useId, useRef, useState } from "preact/hooks";

import type { Chat, ReplyItem } from "../chat";
import { useWords } from "../words";
import { ThumbDownIcon, ThumbUpIcon } from "./icons";

const MAX_COMMENT_CHARS = 500;

type Step = "idle" | "saving" | "commenting" | "thanked" | "failed";

/** Two thumbs; the lower one offers a word of explanation after it has already been counted. */
export function Rating({ chat, reply }: { readonly chat: Chat; readonly reply: ReplyItem }): JSX.Element {
  const words = useWords();
  const [step, setStep] = useState<Step>("idle");
  const comment = useRef<HTMLTextAreaElement>(null);
  const id = useId();

  const save = async (score: 1 | 5, then: Step, text?: string): Promise<void> => {
    setStep("saving");
    try {
      await chat.rate(reply.key, score, text);
      setStep(then);
    } catch {
      setStep("failed");
    }
  };
  const good = reply.rating !== null && reply.rating >= 4;
  const bad = reply.rating !== null && reply.rating <= 2;

  return (
    <>
      <div class="rating" data-testid="rating">
        <span class="rating-note" role="status">
          {step === "thanked" && words.rated}
          {step === "failed" && words.ratingFailed}
        </span>
        <button
          type="button"
          class="thumb"
          data-testid="thumb-up"
          aria-label={words.helpful}
          title={words.helpful}
          aria-pressed={good}
          disabled={step === "saving"}
          onClick={() => void save(5, "thanked")}
        >
          <ThumbUpIcon />
        </button>
        <button
          type="button"
          class="thumb"
          data-testid="thumb-down"
          aria-label={words.unhelpful}
          title={words.unhelpful}
          aria-pressed={bad}
          disabled={step === "saving"}
          onClick={() => void save(1, "commenting")}
        >
          <ThumbDownIcon />
        </button>
      </div>
      {step === "commenting" && (
        <form
          class="comment"
          onSubmit={(event) => {
            event.preventDefault();
            const text = comment.current?.value.trim() ?? "";
            if (text === "") setStep("thanked");
            else void save(1, "thanked", text);
          }}
        >
          <label for={id}>{words.commentLabel}</label>
          <textarea
            id={id}
            ref={comment}
            data-testid="comment"
            rows={2}
            maxLength={MAX_COMMENT_CHARS}
            placeholder={words.commentPlaceholder}
          />
          <div class="comment-actions">
            <button type="button" class="button" onClick={() => setStep("thanked")}>
              {words.commentSkip}
            </button>
            <button type="submit" class="button button-primary" data-testid="comment-send">
              {words.commentSend}
            </button>
          </div>
        </form>
      )}
    </>
  );
}
