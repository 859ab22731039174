import type { JSX } from "preact";

import { fromLocalInput, separated, toLocalInput } from "../format";
import type { Scope } from "../model";
import { useAdminWords } from "../words";
import { Field } from "./parts";

/** The fields as they are typed. */
export interface ScopeInput {
  readonly from: string;
  readonly until: string;
  readonly audiences: string;
  readonly channels: string;
}

export function scopeInput(scope: Scope): ScopeInput {
  return {
    from: toLocalInput(scope.effective_from),
    until: toLocalInput(scope.expires_at),
    audiences: scope.audiences.join(", "),
    channels: scope.channels.join(", "),
  };
}

export function scopeOf(input: ScopeInput): Scope {
  return {
    effective_from: fromLocalInput(input.from),
    expires_at: fromLocalInput(input.until),
    audiences: separated(input.audiences),
    channels: separated(input.channels),
  };
}

export function scopeFault(input: ScopeInput): boolean {
  return input.from !== "" && input.until !== "" && input.from >= input.until;
}

export function ScopeFields({ input, onChange }: { readonly input: ScopeInput; readonly onChange: (input: ScopeInput) => void }): JSX.Element {
  const words = useAdminWords();
  return (
    <fieldset class="fieldset">
      <legend>
        {words.scopeTitle} <span class="muted small">{words.optional}</span>
      </legend>
      <div class="field-row">
        <Field label={words.effectiveFrom} type="datetime-local" value={input.from} onInput={(from) => onChange({ ...input, from })} testId="scope-from" />
        <Field
          label={words.expiresAt}
          type="datetime-local"
          value={input.until}
          onInput={(until) => onChange({ ...input, until })}
          testId="scope-until"
          error={scopeFault(input) ? words.scopeOrder : null}
        />
      </div>
      <div class="field-row">
        <Field label={words.audiences} value={input.audiences} onInput={(audiences) => onChange({ ...input, audiences })} hint={words.audiencesHint} testId="scope-audiences" />
        <Field label={words.channels} value={input.channels} onInput={(channels) => onChange({ ...input, channels })} hint={words.channelsHint} testId="scope-channels" />
      </div>
    </fieldset>
  );
}
