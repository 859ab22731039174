import { ApiError } from "../api";
import type { AdminWords } from "./words";

export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError("protocol", "");
}

/** One plain sentence for a failure, in the reader's language. */
export function sentence(words: AdminWords, failure: ApiError): string {
  const known = words.errors[failure.code];
  if (known !== undefined) return known;
  if (failure.kind === "network") return words.errorNetwork;
  if (failure.kind === "protocol") return words.errorServer;
  switch (failure.status) {
    case 400:
    case 409:
    case 415:
    case 422:
      return words.errorInvalid;
    case 403:
      return words.errors["forbidden"] ?? words.errorInvalid;
    case 404:
      return words.errorNotFound;
    case 413:
      return words.errorTooLarge;
    case 429:
    case 503:
      return words.errorBusy;
    default:
      return words.errorServer;
  }
}

/** What helps to find the case: the server's own words, and the request's number. */
export function details(words: AdminWords, failure: ApiError): string {
  const number = failure.requestId === "" ? "" : `${words.errorRequest} ${failure.requestId}`;
  return [failure.message, number].filter((part) => part !== "").join(" · ");
}
