import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { ApiError } from "../api";
import { failureDetails, failureSentence } from "../failure";
import { useWords } from "../words";
import { AlertIcon } from "./icons";

interface Props {
  readonly failure: ApiError;
  readonly partial: boolean;
  readonly sentence?: string;
  readonly disabled: boolean;
  readonly onRetry: () => void;
  readonly onEdit?: () => void;
}

/** Seconds that are still to wait, counted down from the moment of the failure. */
function useCountdown(failure: ApiError): number {
  const [left, setLeft] = useState(failure.retryAfter ?? 0);
  useEffect(() => {
    const end = performance.now() + (failure.retryAfter ?? 0) * 1000;
    const tick = (): void => {
      const rest = Math.max(0, Math.ceil((end - performance.now()) / 1000));
      setLeft(rest);
      if (rest === 0) clearInterval(timer);
    };
    const timer = setInterval(tick, 500);
    tick();
    return () => clearInterval(timer);
  }, [failure]);
  return left;
}

export function Failure({ failure, partial, sentence, disabled, onRetry, onEdit }: Props): JSX.Element {
  const words = useWords();
  const left = useCountdown(failure);
  const details = failureDetails(words, failure);
  return (
    <div class="failure" data-testid="failure">
      <AlertIcon />
      <div class="failure-body">
        <div role="alert">
          <p class="failure-sentence">{sentence ?? failureSentence(words, failure, partial)}</p>
          {details !== "" && <p class="failure-details">{details}</p>}
        </div>
        <div class="failure-actions">
          <button
            type="button"
            class="button button-primary"
            data-testid="retry"
            disabled={disabled || left > 0}
            onClick={onRetry}
          >
            {left > 0 ? words.retryIn(left) : words.retry}
          </button>
          {onEdit !== undefined && (
            <button type="button" class="button" data-testid="edit" disabled={disabled} onClick={onEdit}>
              {words.edit}
            </button>
          )}
        </div>
      </div>
    </div>
  );
}
