import { Fragment, type ComponentChildren, type JSX } from "preact";

import type { Block, Inline, Line } from "../markup";

interface Props {
  readonly blocks: readonly Block[];
  readonly draw: (part: Inline) => ComponentChildren;
}

/** Draws parsed markup as elements. Text only ever becomes text nodes. */
export function Blocks({ blocks, draw }: Props): JSX.Element {
  const line = (parts: Line): ComponentChildren =>
    parts.map((part) => <Fragment key={part.start}>{draw(part)}</Fragment>);
  return (
    <>
      {blocks.map((block, at) => (
        <DrawnBlock key={at} block={block} line={line} />
      ))}
    </>
  );
}

function DrawnBlock({ block, line }: { block: Block; line: (parts: Line) => ComponentChildren }): JSX.Element {
  switch (block.kind) {
    case "paragraph":
      return (
        <p>
          {block.lines.map((parts, at) => (
            <Fragment key={at}>
              {at > 0 && <br />}
              {line(parts)}
            </Fragment>
          ))}
        </p>
      );
    case "heading":
      return <p class="text-heading">{line(block.line)}</p>;
    case "list": {
      const items = block.items.map((parts, at) => <li key={at}>{line(parts)}</li>);
      return block.ordered ? <ol start={block.first}>{items}</ol> : <ul>{items}</ul>;
    }
    case "table":
      return (
        <div class="table-scroll" tabIndex={0} role="group">
          <table>
            <thead>
              <tr>
                {block.head.map((parts, at) => (
                  <th key={at} scope="col">
                    {line(parts)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {block.rows.map((row, y) => (
                <tr key={y}>
                  {row.map((parts, x) => (
                    <td key={x}>{line(parts)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      );
  }
}
