import { expect, test } from "vitest";

import { examplesOf } from "../src/admin/format";

test("examples are read line by line, the intent behind the last comma or the tab", () => {
  expect(examplesOf("卡丢了，怎么办，card/lost\n\nfee, please\tcard/fee\r\n").examples).toEqual([
    { text: "卡丢了，怎么办", intent: "card/lost" },
    { text: "fee, please", intent: "card/fee" },
  ]);
  expect(examplesOf("卡丢了,card/lost\n没有意图").wrong).toBe(2);
  expect(examplesOf("卡丢了,").wrong).toBe(1);
  expect(examplesOf("").wrong).toBe(null);
});
