import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

interface Props {
  readonly class: string;
  readonly label: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
  readonly testId?: string;
  /** Neither Escape nor a click beside it closes it: what it asks must be answered. */
  readonly keepOpen?: boolean;
}

/** The browser's own modal dialog: it keeps the focus, closes on Escape and gives the focus back. */
export function Dialog({ class: name, label, onClose, children, testId, keepOpen }: Props): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current;
    if (element !== null && !element.open) element.showModal();
    return () => element?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={`dialog ${name}`}
      data-testid={testId}
      aria-label={label}
      onClose={onClose}
      onCancel={(event) => {
        if (keepOpen === true) event.preventDefault();
      }}
      onClick={(event) => {
        // Only a click on the backdrop has the dialog itself as its target: the content fills it.
        if (event.target === dialog.current && keepOpen !== true) dialog.current?.close();
      }}
    >
      <div class="dialog-content">{children}</div>
    </dialog>
  );
}
