/** Who is signed in. */

import type { User } from "./model";
import { Store } from "../store";

export type Session =
  | { readonly state: "unknown" }
  | { readonly state: "out" }
  /** The session ended under the person's hands: what is typed stays, and the sign-in form stands before it. */
  | { readonly state: "expired"; readonly user: User }
  | { readonly state: "in"; readonly user: User };

export const session = new Store<Session>({ state: "unknown" });

export function signedIn(user: User): void {
  session.set({ state: "in", user });
}

export function signedOut(): void {
  session.set({ state: "out" });
}

export function expired(): void {
  const now = session.get();
  if (now.state === "in") session.set({ state: "expired", user: now.user });
  else if (now.state === "unknown") session.set({ state: "out" });
}

/** Whether the server looks for gaps and suggestions; its overview says so. */
export const learns = new Store(false);

export type Right = "draft" | "decide" | "force" | "audit";

/** What the server would allow as well; here it only decides which buttons are shown. */
export function may(user: User, right: Right): boolean {
  switch (right) {
    case "draft":
      return user.role !== "auditor";
    case "decide":
      return user.role === "supervisor" || user.role === "admin";
    case "force":
      return user.role === "admin";
    case "audit":
      return user.role === "admin" || user.role === "auditor";
  }
}
