import type { JSX } from "preact";

import { useWords } from "../words";
import { Dialog } from "./Dialog";

interface Props {
  readonly title: string;
  readonly text: string;
  readonly yes: string;
  readonly onAnswer: (yes: boolean) => void;
}

export function ConfirmDialog({ title, text, yes, onAnswer }: Props): JSX.Element {
  const words = useWords();
  return (
    <Dialog class="dialog-confirm" label={title} onClose={() => onAnswer(false)} testId="confirm">
      <h2 class="dialog-title">{title}</h2>
      <p class="dialog-text">{text}</p>
      <div class="dialog-actions">
        <button type="button" class="button" onClick={() => onAnswer(false)}>
          {words.cancel}
        </button>
        <button type="button" class="button button-primary" data-testid="confirm-yes" onClick={() => onAnswer(true)}>
          {yes}
        </button>
      </div>
    </Dialog>
  );
}
