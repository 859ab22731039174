import { describe, expect, test } from "vitest";

import * as read from "../src/admin/read";

describe("what the server says of people and knowledge", () => {
  test("is read into types", () => {
    expect(read.me({ user: { id: "u", name: "wang", display_name: "", role: "admin", must_change_password: true } })).toEqual({
      id: "u",
      name: "wang",
      displayName: "wang",
      role: "admin",
      mustChange: true,
    });
    const revision = read.revision({
      id: "r",
      item: { kind: "faq", id: "f" },
      number: 2,
      state: "review",
      removes: false,
      name: "card-1",
      title: "挂失",
      scope: { effective_from: null, expires_at: "2027-01-01T00:00:00Z", audiences: ["vip"], channels: [] },
      author: "wang",
      note: "",
      created_at: "2026-11-23T00:00:00Z",
      content: { kind: "faq", question: "挂失", variants: ["a"], answer: "b", category: "" },
      published: null,
    });
    expect(revision).toMatchObject({ kind: "faq", itemId: "f", state: "review", published: null });
    expect(revision?.content?.answer).toBe("b");
    expect(revision?.scope.audiences).toEqual(["vip"]);
    expect(read.versionChanges({ changes: [{ item: { kind: "document", id: "d" }, name: "a.md", title: "A", old: null, new: "r", removed: false }] })).toEqual([
      { kind: "document", itemId: "d", name: "a.md", title: "A", what: "added" },
    ]);
    const trial = read.trial({ route: "refuse", confidence: 0.2, answer: "", citations: [], stages: [{ kind: "faq", scores: { dense: 0.5, lexical: null } }], timings_ms: { total: 12 }, kb_version: 3 });
    expect(trial?.stages[0]?.scores).toEqual({ dense: 0.5 });
    expect(trial?.totalMs).toBe(12);
    expect(read.overview({ kb_version: 1 })).toMatchObject({ version: 1, gaps: null, fourEyes: false });
  });

  test("leaves out what makes no sense, and never throws", () => {
    const nonsense = [null, undefined, 1, "x", [], {}, { items: [null, 1, {}] }, { user: { role: "root", name: "x" } }, { id: 5, state: "x" }];
    for (const one of nonsense) {
      for (const as of [read.me, read.overview, read.document, read.importJob, read.revision, read.published, read.versionChanges, read.trial, read.golden, read.gap, read.suggestion, read.auditLine, read.identifier, read.scope]) {
        expect(() => as(one)).not.toThrow();
      }
    }
    expect(read.me({ user: { role: "root", name: "x" } })).toBeNull();
    expect(read.page({ items: [{ id: "f" }, 7], next_cursor: "" }, read.faq)).toMatchObject({ items: [{ id: "f" }], next: null });
    expect(read.page({ rows: [] }, read.faq)).toBeNull();
  });
});
