import type { ApiError } from "./api";
import type { Words } from "./i18n";

const BUSY_CODE = /busy|overload|queue|timeout|unavailable|shutdown/u;

/** One plain sentence for a failure, in the visitor's language. `partial`: some of the answer had arrived. */
export function failureSentence(words: Words, failure: ApiError, partial: boolean): string {
  switch (failure.kind) {
    case "network":
      return partial ? words.errorBroken : words.errorNetwork;
    case "protocol":
      return words.errorServer;
    case "stream":
      return BUSY_CODE.test(failure.code) ? words.errorBusy : words.errorServer;
    case "http":
      return httpSentence(words, failure.status);
  }
}

function httpSentence(words: Words, status: number): string {
  switch (status) {
    case 429:
      return words.errorRate;
    case 503:
      return words.errorBusy;
    case 413:
      return words.errorTooLong;
    case 400:
    case 409:
    case 415:
    case 422:
      return words.errorInvalid;
    default:
      return words.errorServer;
  }
}

/** What helps the staff find the case: the server's own words, the code, the request's number. */
export function failureDetails(words: Words, failure: ApiError): string {
  const parts = [failure.message];
  if (failure.kind === "http" || failure.kind === "stream") parts.push(`${words.errorCode} ${failure.code}`);
  if (failure.requestId !== "") parts.push(`${words.errorRequest} ${failure.requestId}`);
  return parts.filter((part) => part !== "").join(" · ");
}
