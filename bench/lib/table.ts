/** A Markdown table, padded so that it reads in a terminal too; the first column is left-aligned. */
export const markdownTable = (header: readonly string[], rows: ReadonlyArray<readonly string[]>): string => {
  const widths = header.map((title, column) =>
    Math.max(3, title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, i) => pad(cells[i] ?? '', width, i === 0)).join(' | ')} |`;
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(header), line(rule), ...rows.map(line)].join('\n');
};

const cellsOf = (line: string): string[] =>
  line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());

/** Of a table made here, the columns with these titles, in this order; for who has less room. */
export const onlyColumns = (table: string, titles: readonly string[]): string => {
  const [header = [], , ...rows] = table.split('\n').map(cellsOf);
  const columns = titles.map((title) => {
    const column = header.indexOf(title);
    if (column === -1) throw new Error(`no such column: ${title} (there are ${header.join(', ')})`);
    return column;
  });
  return markdownTable(
    titles,
    rows.map((cells) => columns.map((column) => cells[column] ?? '')),
  );
};

const pad = (text: string, width: number, left: boolean): string =>
  left ? text.padEnd(width) : text.padStart(width);
